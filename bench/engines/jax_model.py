"""An LSTM and its training step in JAX, as its users write them: functions, compiled whole."""

from functools import partial

import jax
import jax.numpy as jnp

from bench.engines.arrays import DECAYS, EPSILON, LEARNING_RATE, MAX_NORM


def lstm(parameters, x):
    """x (T, B, I) -> y (T, B, H), initial states zero; the names tell the number of layers."""
    for layer in range(sum(name.startswith("weight_ih") for name in parameters)):
        kinds = ("weight_ih", "weight_hh", "bias")
        x = _layer(*(parameters[f"{kind}_l{layer}"] for kind in kinds), x)
    return x


def _layer(weight_ih, weight_hh, bias, x):
    """One layer. The input product of all steps is one product, before the loop."""

    def cell(state, from_input):
        h, c = state
        i, f, g, o = jnp.split(from_input + h @ weight_hh.T, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((x.shape[1], weight_hh.shape[1]))
    return jax.lax.scan(cell, (zero, zero), x @ weight_ih.T + bias)[1]


@jax.jit
def gradients(parameters, x, dy):
    """y, and the gradients of every parameter and of x for the output's gradient dy."""
    y, backward = jax.vjp(lstm, parameters, x)
    return y, *backward(dy)


def _loss(parameters, x, targets):
    """Softmax cross-entropy of a linear readout, the mean over T * B rows."""
    scores = lstm(parameters, x) @ parameters["weight_out"].T + parameters["bias_out"]
    found = jnp.take_along_axis(jax.nn.log_softmax(scores), targets[..., None], axis=-1)
    return -found.mean()


def no_averages(parameters):
    """Adam's initial state: averages of the gradient and of its square, and the step count."""
    first, second = (jax.tree.map(jnp.zeros_like, parameters) for _ in DECAYS)
    return first, second, jnp.zeros((), jnp.int32)


@partial(jax.jit, donate_argnums=(0, 1))
def step(parameters, averages, x, targets):
    """The loss, and parameters and averages after a step, in the memory of the arguments."""
    loss, gradient = jax.value_and_grad(_loss)(parameters, x, targets)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradient)))
    gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, MAX_NORM / norm), gradient)
    return loss, *_adam(parameters, averages, gradient)


def _adam(parameters, averages, gradient):
    first, second, steps = averages
    steps = steps + 1
    first = jax.tree.map(lambda m, g: DECAYS[0] * m + (1 - DECAYS[0]) * g, first, gradient)
    second = jax.tree.map(lambda v, g: DECAYS[1] * v + (1 - DECAYS[1]) * g * g, second, gradient)
    corrections = [1 - decay**steps for decay in DECAYS]

    def change(p, m, v):
        divisor = jnp.sqrt(v / corrections[1]) + EPSILON
        return p - LEARNING_RATE * (m / corrections[0]) / divisor

    return jax.tree.map(change, parameters, first, second), (first, second, steps)
