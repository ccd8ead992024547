"""Optimisers, and clipping by the global norm: settings and checks; the core computes."""

import math
import numbers
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from . import _core
from .parameters import Array, Parameters
from .threads import thread_count

if TYPE_CHECKING:
    from .lstm import LSTM
    from .tape import Gradients

__all__ = ["SGD", "Adam", "clip_global_norm"]

Value = TypeVar("Value")


class _Setting(Generic[Value]):
    """A hyper-parameter: an attribute that is checked whenever it is written."""

    def __init__(self, check: Callable[[str, Any], Value]) -> None:
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Value:
        if instance is None:
            raise AttributeError(f"{self.name} is an attribute of instances")
        value: Value = instance.__dict__[self.name]
        return value

    def __set__(self, instance: object, value: Value) -> None:
        instance.__dict__[self.name] = self.check(self.name, value)


def _real(name: str, value: Any) -> float:
    # A plain float, because a NumPy float64 would lift float32 arithmetic to float64.
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, not {type(value).__name__}")
    return float(value)


def _positive(name: str, value: Any) -> float:
    number = _real(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, not {value}")
    return number


def _decay(name: str, value: Any) -> float:
    number = _real(name, value)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be in [0, 1), not {value}")
    return number


def _two_decays(name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be a pair of numbers, not {value!r}")
    return _decay(f"{name}[0]", value[0]), _decay(f"{name}[1]", value[1])


def _flat_of(grad: "Gradients | Parameters") -> Array:
    flat = getattr(getattr(grad, "parameters", grad), "flat", None)
    if not isinstance(flat, np.ndarray):
        raise TypeError(f"grad must be a Gradients or a Parameters, not {type(grad).__name__}")
    return flat


def _gradient_for(lstm: "LSTM", grad: "Gradients | Parameters") -> Array:
    flat, model = _flat_of(grad), lstm._model.flat
    if flat.shape != model.shape:
        raise ValueError(f"grad has {flat.size} values, the model has {model.size} parameters")
    if flat.dtype != model.dtype:
        raise ValueError(f"grad is of {flat.dtype}, the model of {model.dtype}")
    return np.ascontiguousarray(flat)


def _state_for(lstm: "LSTM", **arrays: Array) -> None:
    """Refuse an optimiser's state that a user has replaced by something else."""
    like = lstm._model.flat  # `parameters` makes all the views, which takes as long as a small step
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype != like.dtype:
            raise TypeError(f"{name} must be an array of {like.dtype}, as the model is")
        if array.shape != like.shape or not array.flags.carray:
            raise ValueError(f"{name} must be contiguous, writable and of shape {like.shape}")


@contextmanager
def _alone(lstm: "LSTM") -> Iterator[_core.Model]:
    """The model of an LSTM, to be changed in place: no call may use it meanwhile."""
    model = lstm._model
    model.begin_edit()
    try:
        yield model
    finally:
        model.end_edit(None)


class Adam:
    """Adam, with bias correction.

    For a gradient g, t counting the steps from 1::

        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p - lr * (m / (1 - betas[0]**t)) / (sqrt(v / (1 - betas[1]**t)) + eps)

    Parameters
    ----------
    lstm : LSTM
        The model to train.
    lr : float
        Step size, positive.
    betas : (float, float)
        Decay of the averages of the gradient and of its square, each in [0, 1).
    eps : float
        Keeps the divisor away from 0; positive.

    Attributes
    ----------
    lr, betas, eps
        As above. Writing one takes effect with the next step, which is how to follow a schedule.
    m, v : ndarray, shape (number of parameters,), dtype of the model
        The averages, zeros at first, in the order of ``lstm.parameters.flat``.
    t : int
        Steps done.

    Raises
    ------
    TypeError
        A hyper-parameter isn't a real number (betas: a pair of them).
    ValueError
        A hyper-parameter is outside its range. Both are raised by writing one later, too.

    Notes
    -----
    The formula is algorithm 1 of D. P. Kingma and J. Ba, "Adam: A Method for Stochastic
    Optimization", ICLR 2015, arXiv:1412.6980; m and v start at zero.

    Examples
    --------
    >>> import clstm, numpy as np
    >>> lstm = clstm.LSTM(input_size=3, hidden_size=4, rng=0)
    >>> adam = clstm.optim.Adam(lstm, lr=1e-2)
    >>> tape = lstm.record(np.ones((5, 2, 3)))
    >>> loss, dy = clstm.losses.mean_squared_error(tape.y, np.zeros((5, 2, 4)))
    >>> adam.step(tape.backward(dy))
    >>> adam.t
    1
    """

    lr = _Setting(_positive)
    betas = _Setting(_two_decays)
    eps = _Setting(_positive)

    def __init__(
        self,
        lstm: "LSTM",
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.lr, self.betas, self.eps = lr, betas, eps
        self.lstm = lstm
        self.m: Array = np.zeros_like(lstm.parameters.flat)
        self.v: Array = np.zeros_like(lstm.parameters.flat)
        self.t = 0

    def step(self, grad: "Gradients | Parameters") -> None:
        """Change the model's parameters by one step.

        Parameters
        ----------
        grad : Gradients or Parameters
            What ``Tape.backward`` returned, or its ``parameters``. Not modified.

        Raises
        ------
        TypeError
            `grad` is neither.
        ValueError
            Its size or dtype isn't the model's.
        RuntimeError
            The model is in use by another call, or being edited. Model, averages and t are
            unchanged then.
        """
        g = _gradient_for(self.lstm, grad)
        _state_for(self.lstm, m=self.m, v=self.v)
        settings = (self.t + 1, self.lr, *self.betas, self.eps)
        with _alone(self.lstm) as model:
            model.adam_step(g, self.m, self.v, settings, thread_count(None))
            self.t += 1


class SGD:
    """Stochastic gradient descent, with momentum if wanted.

    For a gradient g::

        velocity = momentum * velocity + g
        p = p - lr * velocity

    Parameters
    ----------
    lstm : LSTM
        The model to train.
    lr : float
        Step size, positive.
    momentum : float
        In [0, 1); 0 is plain gradient descent.

    Attributes
    ----------
    lr, momentum
        As above. Writing one takes effect with the next step.
    velocity : ndarray, shape (number of parameters,), dtype of the model
        Zeros at first, in the order of ``lstm.parameters.flat``.

    Raises
    ------
    TypeError, ValueError
        As for `Adam`.

    Notes
    -----
    Momentum is from B. T. Polyak, "Some methods of speeding up the convergence of iteration
    methods", USSR Computational Mathematics and Mathematical Physics 4 (1964), 1-17. With lr
    outside the velocity, as here and in PyTorch, a change of lr acts at once on all of it.
    """

    lr = _Setting(_positive)
    momentum = _Setting(_decay)

    def __init__(self, lstm: "LSTM", lr: float, momentum: float = 0.0) -> None:
        self.lr, self.momentum = lr, momentum
        self.lstm = lstm
        self.velocity: Array = np.zeros_like(lstm.parameters.flat)

    def step(self, grad: "Gradients | Parameters") -> None:
        """Change the model's parameters by one step; `grad` and errors as for `Adam.step`."""
        g = _gradient_for(self.lstm, grad)
        _state_for(self.lstm, velocity=self.velocity)
        with _alone(self.lstm) as model:
            model.sgd_step(g, self.velocity, (self.lr, self.momentum), thread_count(None))


def clip_global_norm(grad: "Gradients | Parameters", max_norm: float) -> float:
    """Scale all gradients by one factor, so that their common norm is at most `max_norm`.

    Parameters
    ----------
    grad : Gradients or Parameters
        What ``Tape.backward`` returned, or its ``parameters``. ``grad.parameters.flat`` is scaled
        in place; ``grad.x`` and ``grad.state`` neither count nor change.
    max_norm : float
        Positive. ``inf`` only measures.

    Returns
    -------
    float
        The norm before scaling, summed in float64. Where it is inf or NaN nothing is scaled, and
        the caller decides; leaving the step out is usual.

    Raises
    ------
    TypeError
        `grad` is neither, or `max_norm` isn't a real number.
    ValueError
        `max_norm` isn't positive, or the values of `grad` are read-only (a model's own
        parameters are).

    Notes
    -----
    Algorithm 1 of R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent
    neural networks", ICML 2013, arXiv:1211.5063.
    """
    flat = _flat_of(grad)
    if not flat.flags.writeable:
        raise ValueError("grad is read-only: are these a model's parameters, not gradients?")
    limit = _real("max_norm", max_norm)
    if not limit > 0:
        raise ValueError(f"max_norm must be positive, not {max_norm}")
    return _core.clip_global_norm(flat, limit, thread_count(None))
