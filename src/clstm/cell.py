"""Variants of the LSTM cell: peepholes, coupled gates, clips, and other activation functions."""

import math
from dataclasses import dataclass, fields
from typing import Annotated, Any

from .options import Bound, Flag, Kind, kinds, read_real, real_number

_FUNCTIONS: dict[str, dict[str, float | None]] = {
    "sigmoid": {},
    "tanh": {},
    "hard_sigmoid": {"alpha": 0.2, "beta": 0.5},
    "relu": {},
    "affine": {"alpha": None, "beta": None},
    "leaky_relu": {"alpha": 0.01},
    "thresholded_relu": {"alpha": 1.0},
    "scaled_tanh": {"alpha": None, "beta": None},
    "elu": {"alpha": 1.0},
    "softsign": {},
    "softplus": {},
}
"""Parameters of each function, with their defaults; None marks a required parameter."""

_WITH_GRADIENT = ("sigmoid", "tanh", "hard_sigmoid", "relu")

SLOTS = ("gate", "cell", "hidden")
"""Fields of `Cell` that hold an activation function."""


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation function with its parameters.

    ================  =====================================  ==========================
    name              formula                                parameters
    ================  =====================================  ==========================
    sigmoid           1 / (1 + exp(-x))
    tanh              tanh(x)
    relu              max(0, x)
    hard_sigmoid      min(max(alpha x + beta, 0), 1)         alpha = 0.2, beta = 0.5
    affine            alpha x + beta                         alpha, beta (required)
    leaky_relu        x if x >= 0 else alpha x               alpha = 0.01
    thresholded_relu  x if x >= alpha else 0                 alpha = 1
    scaled_tanh       alpha tanh(beta x)                     alpha, beta (required)
    elu               x if x >= 0 else alpha (exp(x) - 1)    alpha = 1
    softsign          x / (1 + abs(x))
    softplus          log(1 + exp(x))
    ================  =====================================  ==========================

    Gradients exist for the first four. A cell with one of the others can be called but not
    recorded.

    Parameters
    ----------
    name : str
        Name of the function.
    alpha, beta : float, optional
        Parameters of the function, with the defaults above.

    Raises
    ------
    ValueError
        If the name is unknown, a parameter does not belong to the function, a required parameter is
        missing, or a parameter is not finite.
    TypeError
        If the name is not a string, or a parameter is not a real number.

    Notes
    -----
    Functions, names (here in snake case) and defaults follow the LSTM operator of the ONNX
    specification.

    Examples
    --------
    >>> import clstm
    >>> clstm.Activation("hard_sigmoid", alpha=0.25)
    Activation('hard_sigmoid', alpha=0.25)
    """

    name: str
    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            kind = type(self.name).__name__
            raise TypeError(f"name of an activation must be a string, got {kind}")
        if self.name not in _FUNCTIONS:
            raise ValueError(
                f"unknown activation {self.name!r}, expected one of: {', '.join(_FUNCTIONS)}"
            )
        for parameter in ("alpha", "beta"):
            object.__setattr__(self, parameter, self._read(parameter))

    def _read(self, parameter: str) -> float | None:
        """Return the checked value of alpha or beta, or its default."""
        value, defaults = getattr(self, parameter), _FUNCTIONS[self.name]
        if parameter not in defaults:
            if value is not None:
                raise ValueError(f"{self.name!r} has no {parameter}, got {value!r}")
            return None
        if value is None:
            if defaults[parameter] is None:
                raise ValueError(f"{self.name!r} needs {parameter}, got none")
            return defaults[parameter]
        number = real_number(f"{parameter} of {self.name!r}", value)
        if not math.isfinite(number):
            raise ValueError(f"{parameter} of {self.name!r} must be finite, got {value!r}")
        return number

    def __repr__(self) -> str:
        """Return the constructor call, without defaults."""
        shown = [f"{name}={value!r}" for name, value in _not_default(self).items()]
        return f"Activation({', '.join([repr(self.name), *shown])})"


@dataclass(frozen=True, kw_only=True)
class Slot(Kind):
    """An activation function or its name."""

    def check(self, name: str, value: Any) -> Activation:
        if isinstance(value, Activation):
            return value
        if not isinstance(value, str):
            kind = type(value).__name__
            raise TypeError(f"{name} must be a name or a clstm.Activation, got {kind}")
        try:
            return Activation(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def write(self, name: str, value: Activation) -> dict[str, str]:
        parameters = {"alpha": value.alpha, "beta": value.beta}
        given = {
            f"{name}.{p}": number.hex() for p, number in parameters.items() if number is not None
        }
        return {name: value.name} | given

    def take(self, name: str, metadata: dict[str, str], default: Activation) -> Activation:
        function = metadata.pop(name, default.name)
        parameters = {
            parameter: read_real(key, metadata.pop(key))
            for parameter in ("alpha", "beta")
            if (key := f"{name}.{parameter}") in metadata
        }
        try:
            return Activation(function, **parameters)
        except ValueError as error:
            raise ValueError(f"clstm.{name}: {error}") from None


@dataclass(frozen=True, slots=True, init=False)
class Cell:
    """A variant of the LSTM cell: the equations of each step.

    With all variants, p the peepholes, * the elementwise product and @ the matrix product::

        a_i = W_i @ x_t + R_i @ h_{t-1} + b_i + p_i * c_{t-1}
        a_f = W_f @ x_t + R_f @ h_{t-1} + b_f + p_f * c_{t-1}
        a_g = W_g @ x_t + R_g @ h_{t-1} + b_g
        i_t = gate(clip(a_i))                                input gate
        f_t = 1 - i_t if coupled else gate(clip(a_f))        forget gate
        g_t = cell(clip(a_g))                                new memory (candidate cell)
        c_t = cell_clip(f_t * c_{t-1} + i_t * g_t)           cell state
        a_o = W_o @ x_t + R_o @ h_{t-1} + b_o + p_o * c_t
        o_t = gate(clip(a_o))                                output gate
        h_t = o_t * hidden(c_t)                              hidden state, before any projection

    Parameters
    ----------
    peephole : bool, default=False
        Whether the gates of each unit read its cell state [1]_, with the weights
        ``weight_peephole_l{k}`` (3H,) in the order input, forget, output. Their initial value is
        zero.
    coupled : bool, default=False
        Whether the forget gate is 1 - i_t [2]_. The forget gate's rows of weights, biases and
        peepholes remain but are unused; their gradient is zero.
    clip : float, optional
        Bound of the pre-activations a, which are clipped to [-clip, clip]. No bound by default.
    cell_clip : float, optional
        Bound of the cell state, which is clipped to [-cell_clip, cell_clip] before the output gate,
        the hidden state and the next step read it. No bound by default.
    gate : str or Activation, default="sigmoid"
        Activation function of the three gates.
    cell : str or Activation, default="tanh"
        Activation function of the new memory.
    hidden : str or Activation, default="tanh"
        Activation function of the cell state in h_t.

    Raises
    ------
    ValueError
        If a bound is not positive and finite, or a function is invalid (see `Activation`).
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    The gradient through an active bound is zero. Strings are converted to `Activation`. `clip` and
    the functions follow the LSTM operator of the ONNX specification, which has no `cell_clip`.

    References
    ----------
    .. [1] F. Gers, J. Schmidhuber, "Recurrent nets that time and count", 2000.
    .. [2] K. Greff, R. K. Srivastava, J. Koutnik, B. R. Steunebrink, J. Schmidhuber, "LSTM: a
       search space odyssey", 2017.

    Examples
    --------
    >>> import clstm
    >>> cell = clstm.Cell(peephole=True, gate="hard_sigmoid")
    >>> lstm = clstm.LSTM(3, 8, cell=cell, rng=0)
    >>> lstm
    LSTM(input_size=3, hidden_size=8, cell=Cell(peephole=True, gate='hard_sigmoid'))
    >>> lstm.parameters["weight_peephole_l0"].shape
    (24,)
    """

    peephole: Annotated[bool, Flag(strict=True, later=True)]
    coupled: Annotated[bool, Flag(strict=True, later=True)]
    clip: Annotated[float | None, Bound(later=True)]
    cell_clip: Annotated[float | None, Bound(later=True)]
    gate: Annotated[Activation, Slot()]
    cell: Annotated[Activation, Slot()]
    hidden: Annotated[Activation, Slot()]

    # Not generated by dataclass: arguments may be strings, the fields are always `Activation`.
    def __init__(
        self,
        *,
        peephole: bool = False,
        coupled: bool = False,
        clip: float | None = None,
        cell_clip: float | None = None,
        gate: str | Activation = "sigmoid",
        cell: str | Activation = "tanh",
        hidden: str | Activation = "tanh",
    ) -> None:
        given = {
            "peephole": peephole,
            "coupled": coupled,
            "clip": clip,
            "cell_clip": cell_clip,
            "gate": gate,
            "cell": cell,
            "hidden": hidden,
        }
        for name, kind in kinds(type(self)).items():
            object.__setattr__(self, name, kind.check(name, given[name]))

    def __repr__(self) -> str:
        """Return all non-default values, as the constructor takes them."""
        shown = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != getattr(PLAIN, field.name):
                if isinstance(value, Activation) and not _not_default(value):
                    value = value.name
                shown.append(f"{field.name}={value!r}")
        return f"Cell({', '.join(shown)})"


def check_gradients(cell: Cell, what: str) -> None:
    """Raise ValueError if a function has no gradient; `what` names the operation that needs it."""
    for slot in SLOTS:
        name = getattr(cell, slot).name
        if name not in _WITH_GRADIENT:
            *most, last = map(repr, _WITH_GRADIENT)
            raise ValueError(
                f"cell.{slot} is {name!r}, which has no gradient here: {what} needs "
                f"{', '.join(most)} or {last}"
            )


def _not_default(activation: Activation) -> dict[str, float]:
    """Return the parameters that differ from the defaults."""
    values = {name: getattr(activation, name) for name in _FUNCTIONS[activation.name]}
    return {n: v for n, v in values.items() if v != _FUNCTIONS[activation.name][n]}


PLAIN = Cell()
"""The LSTM cell without variants."""


@dataclass(frozen=True, kw_only=True)
class Variant(Kind):
    """A `Cell`; files have no entries for a plain one."""

    def check(self, name: str, value: Any) -> Cell:
        if not isinstance(value, Cell):
            raise TypeError(f"{name} must be a clstm.Cell, got {type(value).__name__}")
        return value

    def write(self, name: str, value: Cell) -> dict[str, str]:
        metadata: dict[str, str] = {}
        for field, kind in kinds(Cell).items() if value != PLAIN else ():
            metadata |= kind.write(f"{name}.{field}", getattr(value, field))
        return metadata

    def take(self, name: str, metadata: dict[str, str], default: Cell) -> Cell:
        values: dict[str, Any] = {
            field: kind.take(f"{name}.{field}", metadata, getattr(default, field))
            for field, kind in kinds(Cell).items()
        }
        return Cell(**values)
