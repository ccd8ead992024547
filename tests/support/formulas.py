"""Optimisers and losses in float64, written from their formulas; see reference.py."""

import numpy as np


def adam_by_formula(p, gradients, lr, betas, eps):
    """Kingma and Ba's algorithm 1 in float64, for a list of gradients."""
    m = v = np.zeros(p.size)
    for t, g in enumerate(gradients, start=1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def sgd_by_formula(p, gradients, lr, momentum):
    velocity = np.zeros(p.size)
    for g in gradients:
        velocity = momentum * velocity + g
        p = p - lr * velocity
    return p


def cross_entropy_by_formula(y, target, weight):
    """Return sum(weight * -log p) / sum(weight), p the softmax's probability of the target."""
    p = np.exp(y) / np.exp(y).sum(axis=-1, keepdims=True)
    right = np.eye(y.shape[-1])[target]
    share = weight / weight.sum()
    loss = (share * -np.log((p * right).sum(axis=-1))).sum()
    return loss, share[..., np.newaxis] * (p - right)


def squared_error_by_formula(y, target, weight):
    share = weight / weight.sum()
    loss = (share * np.mean((y - target) ** 2, axis=-1)).sum()
    return loss, share[..., np.newaxis] * 2 * (y - target) / y.shape[-1]
