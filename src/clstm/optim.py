"""Optimisers, and gradient clipping by the global norm: settings and checks; the core computes."""

import copy
import math
import numbers
import operator
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from . import _core, named_arrays
from .groups import Groups, Part, cut, ranges
from .layout import as_array, cast, refuse_mask
from .model import Trainable
from .parameters import Array, Parameters, Table
from .threads import thread_count

if TYPE_CHECKING:
    from .lstm import LSTM
    from .sequential import Sequential
    from .tape import Gradients

__all__ = ["SGD", "Adam", "AdamW", "clip_global_norm"]

Value = TypeVar("Value")


class _Setting(Generic[Value]):
    """A hyper-parameter: an attribute that is checked on every assignment."""

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
    # A plain float: a NumPy float64 would promote float32 arithmetic to float64.
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, not {type(value).__name__}")
    return float(value)


def _positive(name: str, value: Any) -> float:
    number = _real(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, not {value}")
    return number


def _not_negative(name: str, value: Any) -> float:
    number = _real(name, value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be finite and at least 0, not {value}")
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


def _count(name: str, value: Any) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None
    if not 0 <= count <= sys.maxsize:
        raise ValueError(f"{name} must be from 0 to {sys.maxsize}, not {count}")
    return count


def _check_model(lstm: Any, optimiser: str) -> None:
    """Raise unless an optimiser can train this, which is no dict."""
    if isinstance(lstm, Trainable):
        return
    kind = type(lstm)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    if isinstance(lstm, Parameters):
        hint = f"the model itself: {optimiser}(lstm), not {optimiser}(lstm.parameters)"
    elif isinstance(lstm, (np.ndarray, list, tuple)):
        hint = f"a model itself, or arrays by name: {optimiser}({{'weight': weight}})"
    else:
        hint = f"a model itself, {optimiser}(lstm), or arrays by name"
    raise TypeError(
        f"lstm must be a clstm.LSTM or a clstm.Sequential, or a dict of arrays, got {name}: an "
        f"optimiser takes {hint}"
    )


def _flat_of(grad: "Gradients | Parameters") -> Array:
    flat = getattr(getattr(grad, "parameters", grad), "flat", None)
    refuse_mask(flat, "grad")
    if not isinstance(flat, np.ndarray):
        kind = type(grad).__name__
        raise TypeError(f"grad must be Gradients or Parameters, as of a model, not {kind}")
    if flat.ndim != 1:
        raise ValueError(f"grad must have one axis, got shape {flat.shape}")
    return flat


def _gradient_for(lstm: Trainable, flat: Array) -> Array:
    """Return a gradient that the core can read while it writes the parameters."""
    model = lstm._model.flat
    if flat.shape != model.shape:
        raise ValueError(f"grad has {flat.size} values, expected {model.size}, one per parameter")
    if flat.dtype != model.dtype:
        raise ValueError(f"grad has dtype {flat.dtype}, expected the model's {model.dtype}")
    fits = flat.flags.c_contiguous and flat.flags.aligned
    return flat if fits and not np.may_share_memory(flat, model) else flat.copy()


def _state_for(lstm: Trainable, grad: Array, **arrays: Array) -> None:
    """Check the state of an optimiser, which a user may have replaced."""
    for name, array in arrays.items():
        refuse_mask(array, name)
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} must be an array of the model's dtype, {lstm.dtype}")
        if np.may_share_memory(array, grad):
            raise ValueError(f"{name} shares memory with grad")


class _Optimiser:
    """What optimisers share: what they train, and their state as a dict, to go on from."""

    lstm: Any
    _settings: tuple[str, ...]
    _averages: tuple[str, ...]
    _names: list[str]  # of a dict
    _parts: list[Part]
    _progress: _core.Progress
    _arrays: _core.NamedArrays | None  # the access to the arrays of a dict; None for a model

    def _begin(self, lstm: Any, groups: Groups) -> None:
        """Begin to train a model or a dict of arrays, with averages of zero."""
        self._arrays, self._names = None, []
        if isinstance(lstm, dict):
            self._names = names = named_arrays.names_of(lstm, "parameters")
            arrays = named_arrays.own_arrays(lstm, "parameters", names)
            # Where a model has offsets in its flat array, a dict has places in the list of names.
            places: Table = [(name, (), k) for k, name in enumerate(names)]
            self._parts = cut(places, len(names), groups)
            _core.check_parameters(names, arrays, self._parts)
            self._arrays = _core.NamedArrays()
        else:
            _check_model(lstm, type(self).__name__)
            self._parts = cut(lstm._table, lstm._model.elements, groups)
        self.lstm = lstm
        for name in self._averages:
            setattr(self, name, self._zeros())
        self._progress = _core.Progress(0)

    def _zeros(self) -> Any:
        """Return an average's first value: a flat array, or a dict for a dict."""
        if self._arrays is None:
            return np.zeros_like(self.lstm.parameters.flat)
        return {name: np.zeros_like(np.asarray(self.lstm[name])) for name in self._names}

    def _named(self, grad: Any) -> tuple[list[str], list[Array], list[Any], dict[str, list[Array]]]:
        """Return the names, arrays, gradients and averages of a step, in the order of names."""
        names = self._names
        trained = {k for part in self._parts for k in range(part.begin, part.end)}
        frozen = {name for k, name in enumerate(names) if k not in trained}
        given = named_arrays.gradients(grad, names, frozen)
        averages = {
            kind: named_arrays.own_arrays(getattr(self, kind), kind, names)
            for kind in self._averages
        }
        return names, named_arrays.own_arrays(self.lstm, "parameters", names), given, averages

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the averages, the number of steps and the settings, by name.

        Averages of a dict are dicts. Groups are no part of it: they are those of the optimiser that
        loads it.
        """
        state: dict[str, Any] = {
            name: copy.deepcopy(getattr(self, name)) for name in self._averages
        }
        state |= {name: getattr(self, name) for name in self._settings}
        return state | {"t": self._progress.steps}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a result of `state_dict`.

        Raises
        ------
        KeyError
            If a name is missing or unknown.
        ValueError, TypeError
            If a value does not fit. The optimiser stays unchanged in all these cases, and on
            Ctrl-C, if that comes before all is loaded.
        """
        wanted = {*self._averages, *self._settings, "t"}
        if wrong := wanted ^ state_dict.keys():
            name = min(wrong)
            raise KeyError(f"{name!r} is {'missing from' if name in wanted else 'unknown in'} it")
        new: dict[str, Any] = {
            name: self._read_average(name, state_dict[name]) for name in self._averages
        }
        for name in self._settings:
            new[name] = _setting_of(self, name).check(name, state_dict[name])
        new["_progress"] = _core.Progress(_count("t", state_dict["t"]))
        vars(self).update(new)  # one call of C, so that no signal handler comes in between

    def _read_average(self, name: str, value: Any) -> Any:
        """Return a copy of an average, checked against the present one."""
        own = getattr(self, name)
        if self._arrays is None:
            return _copy_like(own, value, name)
        if not isinstance(value, Mapping):
            raise TypeError(f"{name} must be a dict of arrays, got {type(value).__name__}")
        if wrong := own.keys() ^ value.keys():
            key = min(wrong, key=str)
            raise KeyError(f"{name} {'lacks' if key in own else 'has an unknown'} {key!r:.80}")
        return {
            key: _copy_like(array, value[key], f"{name}[{key!r:.80}]") for key, array in own.items()
        }


def _copy_like(own: Array, value: Any, name: str) -> Array:
    """Return a copy of a given array, which must have the shape of one's own, in its dtype."""
    array = as_array(value, name)
    if array.shape != own.shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {own.shape}")
    return np.array(cast(array, own.dtype), order="C")


def _setting_of(optimiser: _Optimiser, name: str) -> "_Setting[Any]":
    """Return the descriptor of a setting."""
    return next(vars(cls)[name] for cls in type(optimiser).__mro__ if name in vars(cls))


class Adam(_Optimiser):
    """Adam with bias correction [1]_.

    For a gradient g at step t, counted from 1::

        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p - lr * (m / (1 - betas[0]**t)) / (sqrt(v / (1 - betas[1]**t)) + eps)

    Parameters
    ----------
    lstm : LSTM, Sequential or dict of ndarray
        The model to train; or a dict of arrays by name, each C-contiguous, writable and of dtype
        float32 or float64, which are trained in place. A step reads the arrays from the dict anew:
        they may be replaced by others of the same shape and dtype.
    lr : float, default=1e-3
        Step size, positive.
    betas : (float, float), default=(0.9, 0.999)
        Decay rates of the averages of the gradient and of its square, each in [0, 1).
    eps : float, default=1e-8
        Term that keeps the denominator away from zero, positive.
    groups : mapping from str to mapping, optional
        Settings of some parameters, by a pattern of their names (``"bias*"``, ``"0.*"``): a dict of
        ``freeze`` (True: not trained), ``lr_scale`` (a factor of `lr`) and ``weight_decay``, which
        is that of `AdamW`, in the other optimisers, too. The first pattern that matches counts.

    Attributes
    ----------
    lr, betas, eps
        As above. An assignment takes effect with the next step, for example to follow a schedule.
    m, v : ndarray, shape (number of parameters,), dtype of the model
        Averages of the gradient and of its square, in the order of ``lstm.parameters.flat``;
        initially zero. For a dict they are dicts of arrays with the shapes and dtypes of its own.
    t : int
        Number of steps taken.

    Raises
    ------
    TypeError
        If `lstm` is neither a model nor a dict of float32 or float64 arrays, a hyper-parameter is
        not a real number, or `betas` is not a pair of them.
    ValueError
        If a hyper-parameter is out of range. Later assignments raise both errors, too. Also if an
        array of a dict is read-only, not C-contiguous, or shares memory with another one.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1,
       arXiv:1412.6980.

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

    A dict of arrays, with gradients of the same names:

    >>> scale = {"scale": np.ones(4)}
    >>> adam = clstm.optim.Adam(scale, lr=0.25)
    >>> adam.step({"scale": np.array([1.0, -1.0, 2.0, 0.0])})
    >>> scale["scale"].round(6)
    array([0.75, 1.25, 0.75, 1.  ])
    """

    lr = _Setting(_positive)
    betas = _Setting(_two_decays)
    eps = _Setting(_positive)
    _weight_decay = 0.0
    _settings: tuple[str, ...] = ("lr", "betas", "eps")
    _averages = ("m", "v")
    m: Any  # an array, or a dict of arrays
    v: Any

    def __init__(
        self,
        lstm: "LSTM | Sequential",
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        groups: Groups = None,
    ) -> None:
        self.lr, self.betas, self.eps = lr, betas, eps
        self._begin(lstm, groups)

    @property
    def t(self) -> int:
        """Number of steps taken."""
        return self._progress.steps

    @t.setter
    def t(self, steps: int) -> None:
        self._progress = _core.Progress(_count("t", steps))

    def step(self, grad: "Gradients | Parameters") -> None:
        """Update the parameters by one step.

        Parameters
        ----------
        grad : Gradients, Parameters, or dict of ndarray
            Result of `Tape.backward`, or its ``parameters``. If a dict is trained, a dict of
            C-contiguous arrays with the names, shapes and dtypes of its own; those that a group
            freezes may be missing. Not modified.

        Raises
        ------
        TypeError
            If `grad` has another type, or `m` or `v` is not an array of the model's dtype.
        ValueError
            If the size or dtype of `grad` is not the model's; or `m` or `v` has another shape, is
            not contiguous, aligned and writable, or shares memory with another array of the step.
        KeyError, ValueError, TypeError
            If a dict is trained, and a name is missing or unknown, or the shape, dtype or layout of
            an array does not fit. The message has its name.
        RuntimeError
            If a call is using the model or `edit` is open, or another thread takes a step of the
            same optimiser. The parameters, the averages and t are then unchanged, as after all
            errors. Likewise if the weights or the averages are torn, because another thread was
            writing them when this process was forked.

        Notes
        -----
        Ctrl-C comes before or after a step: the parameters, all averages and t change together.
        """
        settings = (*self.betas, self.eps)
        parts = ranges(self._parts, self.lr, self._weight_decay)
        if self._arrays is not None:
            arrays, threads = self._named(grad), thread_count(None)
            self._arrays.adam_step(*arrays, self._progress, settings, parts, threads)
            return
        flat, m, v = _flat_of(grad), self.m, self.v
        g = _gradient_for(self.lstm, flat)
        _state_for(self.lstm, flat, m=m, v=v)
        threads = thread_count(None)
        self.lstm._model.adam_step(g, m, v, self._progress, settings, parts, threads)


class AdamW(Adam):
    """Adam with decoupled weight decay [1]_: each step also takes ``lr * weight_decay * p`` from p.

    Parameters
    ----------
    lstm, lr, betas, eps, groups
        As in `Adam`.
    weight_decay : float, default=0.01
        Weight decay, at least 0. Biases usually have none: ``groups={"*bias*": {"weight_decay":
        0}}``.

    Attributes
    ----------
    weight_decay
        As above. An assignment takes effect with the next step.
    lr, betas, eps, m, v, t
        As in `Adam`.

    Raises
    ------
    TypeError, ValueError
        As for `Adam`.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019, algorithm 2,
       arXiv:1711.05101.
    """

    weight_decay = _Setting(_not_negative)
    _settings = (*Adam._settings, "weight_decay")

    def __init__(
        self,
        lstm: "LSTM | Sequential",
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        groups: Groups = None,
    ) -> None:
        super().__init__(lstm, lr, betas, eps, groups=groups)
        self.weight_decay = weight_decay

    @property
    def _weight_decay(self) -> float:  # type: ignore[override]
        return self.weight_decay


class SGD(_Optimiser):
    """Stochastic gradient descent, optionally with momentum [1]_.

    For a gradient g::

        velocity = momentum * velocity + g
        p = p - lr * velocity

    Parameters
    ----------
    lstm : LSTM, Sequential or dict of ndarray
        The model or the arrays to train, as in `Adam`.
    lr : float
        Step size, positive.
    momentum : float, default=0.0
        Decay rate of the velocity, in [0, 1). 0 gives plain gradient descent.
    groups : mapping from str to mapping, optional
        As in `Adam`.

    Attributes
    ----------
    lr, momentum
        As above. An assignment takes effect with the next step.
    velocity : ndarray, shape (number of parameters,), dtype of the model
        Decaying sum of the gradients, in the order of ``lstm.parameters.flat``; initially zero. For
        a dict it is a dict of arrays.

    Raises
    ------
    TypeError, ValueError
        As for `Adam`.

    Notes
    -----
    The velocity does not contain lr, as in PyTorch, so a change of lr applies to all of it from the
    next step on.

    References
    ----------
    .. [1] B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR
       Computational Mathematics and Mathematical Physics 4 (1964), 1-17.
    """

    lr = _Setting(_positive)
    momentum = _Setting(_decay)
    _settings = ("lr", "momentum")
    _averages = ("velocity",)
    velocity: Any  # an array, or a dict of arrays

    def __init__(
        self,
        lstm: "LSTM | Sequential",
        lr: float,
        momentum: float = 0.0,
        *,
        groups: Groups = None,
    ) -> None:
        self.lr, self.momentum = lr, momentum
        self._begin(lstm, groups)

    def step(self, grad: "Gradients | Parameters") -> None:
        """Update the model's parameters by one step; `grad` and errors as in `Adam.step`."""
        parts = ranges(self._parts, self.lr, 0.0)
        if self._arrays is not None:
            arrays, threads = self._named(grad), thread_count(None)
            self._arrays.sgd_step(*arrays, self._progress, self.momentum, parts, threads)
            return
        flat, velocity = _flat_of(grad), self.velocity
        g = _gradient_for(self.lstm, flat)
        _state_for(self.lstm, flat, velocity=velocity)
        threads = thread_count(None)
        self.lstm._model.sgd_step(g, velocity, self._progress, self.momentum, parts, threads)


def clip_global_norm(grad: "Gradients | Parameters", max_norm: float) -> float:
    """Scale the gradients of all parameters so that their global norm is at most `max_norm` [1]_.

    Parameters
    ----------
    grad : Gradients, Parameters, or dict of ndarray
        Result of `Tape.backward`, or its ``parameters``. The gradients of the parameters are scaled
        in place; those of x and the state neither count nor change. Or a dict of C-contiguous
        arrays, which are scaled together: ``{**grad.parameters, "head": head_grad}`` joins those of
        a model and others.
    max_norm : float
        Maximum norm, positive. ``inf`` measures the norm without scaling.

    Returns
    -------
    float
        Norm before scaling, summed in float64. If it is inf or NaN, nothing is scaled; callers
        usually skip the step.

    Raises
    ------
    TypeError
        If `grad` has another type, or `max_norm` is not a real number.
    ValueError
        If `max_norm` is not positive; or `grad` is read-only, as a model's own parameters are, or
        not a contiguous array of native float32 or float64; or arrays of a dict share memory.

    Notes
    -----
    Arrays of a dict are copied one after another and clipped as one: norm and gradients have the
    bits of a flat array of the same order. If their dtypes differ, they are clipped in float64. All
    of them are scaled, or, if Ctrl-C comes before, none. PyTorch's `clip_grad_norm_` divides by the
    norm plus 1e-6.

    References
    ----------
    .. [1] R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural
       networks", 2013, algorithm 1, arXiv:1211.5063.
    """
    limit = _real("max_norm", max_norm)
    if not limit > 0:
        raise ValueError(f"max_norm must be positive, not {max_norm}")
    if isinstance(grad, dict):
        names = named_arrays.names_of(grad, "grad")
        arrays = named_arrays.own_arrays(grad, "grad", names)
        return _core.clip_named(names, arrays, limit, thread_count(None))
    flat = _flat_of(grad)
    return _core.clip_global_norm(flat, limit, thread_count(None))
