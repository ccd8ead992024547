"""A pass with every option of a model and a call: drawn, run in any form, and specified.

Whatever the form, results come back padded, (T, B, .), so that one test serves all of them.
"""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

import clstm
from tests.support import reference
from tests.support.case import Case
from tests.support.reference_cell import ACTIVATIONS, SLOPES


def rows_of(padded, lengths):
    """(T, B, .) as a list of (T_i, .)."""
    return [padded[:length, b] for b, length in enumerate(lengths)]


def padded(rows, steps):
    """The reverse: zeros after a row's end."""
    result = np.zeros((steps, len(rows), *rows[0].shape[1:]), rows[0].dtype)
    for b, row in enumerate(rows):
        result[: len(row), b] = row
    return result


def lengths_of(case):
    return np.array([case.steps] * case.batch if case.lengths is None else case.lengths, int)


@dataclass(frozen=True)
class Pass:
    """A case, and in which form it is run."""

    case: Case
    ragged: bool = False  # x is a list
    with_state: bool = True  # or None is given
    dropout: bool = False
    recurrent_dropout: bool = False

    def masks(self):
        """Factors 0 and 2, padded."""
        case, masks = self.case, {}
        if self.dropout:
            shape = case.num_layers - 1, case.steps, case.batch, case.width
            masks["dropout"] = 2 * (case.draw(*shape, salt=10) > 0)
        if self.recurrent_dropout:
            masks["recurrent_dropout"] = 2 * (case.draw(*case.state()[0].shape, salt=11) > 0)
        return masks

    def arguments(self, x=None, state=None):
        """The arguments of a call."""
        case = self.case
        x = case.x() if x is None else x
        state = case.state() if state is None and self.with_state else state
        if self.ragged:
            return {"x": rows_of(x, lengths_of(case)), "state": state}
        lengths = {} if case.lengths is None else {"lengths": lengths_of(case)}
        return {"x": x, "state": state, **lengths}

    def padded(self, sequence):
        """A result's steps, (T, B, .)."""
        if not self.ragged:
            return sequence
        assert isinstance(sequence, list)
        assert [len(row) for row in sequence] == lengths_of(self.case).tolist()
        return padded(sequence, self.case.steps)

    def call(self, model, x=None, state=None, **kwargs):
        y, end = model(**self.arguments(x, state), **kwargs)
        return self.padded(y), end

    def record(self, model, x=None, state=None, **kwargs):
        masks = self.masks()
        if self.ragged and self.dropout:
            counts = ~self.case.padding().T  # (B, T): one row after the other
            masks["dropout"] = masks["dropout"].swapaxes(1, 2)[:, counts]
        return model.record(**self.arguments(x, state), **masks, **kwargs)

    def recorded(self, model, x=None, state=None, **kwargs):
        tape = self.record(model, x, state, **kwargs)
        return self.padded(tape.y), tape.state

    def specified(self, model, dtype=np.float64):
        case = self.case
        state = case.state() if self.with_state else None
        return reference.forward(
            model.parameters,
            case.x(),
            state,
            dtype,
            lengths_of(case),
            cell=case.cell,
            **self.masks(),
        )

    def backward(self, tape, dy=None, **kwargs):
        """The gradients by name; those of the state apart from the parameters h0 and c0."""
        case = self.case
        dy = case.dy() if dy is None else dy
        dy = rows_of(dy, lengths_of(case)) if self.ragged else dy
        grad = tape.backward(dy, case.state(salt=6), **kwargs)
        named = {"x": None if grad.x is None else self.padded(grad.x)}
        named |= {"state h": grad.state[0], "state c": grad.state[1]}
        return named | dict(grad.parameters)

    def gradients(self, model, num_threads=None, **kwargs):
        tape = self.record(model, num_threads=num_threads, **kwargs)
        return self.backward(tape, num_threads=num_threads)

    def exact_gradients(self, model):
        tape = self.specified(model)
        exact = reference.backward(model.parameters, tape, self.case.dy(), self.case.state(salt=6))
        named = {"x": exact.x, "state h": exact.state[0], "state c": exact.state[1]}
        return named | exact.parameters


# All differ from the defaults, so that an ignored one is noticed.
ALPHA_BETA = {
    "hard_sigmoid": (0.3, 0.4),
    "affine": (0.7, -0.2),
    "leaky_relu": (0.2,),
    "thresholded_relu": (0.4,),
    "scaled_tanh": (1.3, 0.6),
    "elu": (0.8,),
}


def activation(name):
    return clstm.Activation(name, *ALPHA_BETA.get(name, ()))


def random_cell(seed, trainable=True):
    """Every option of a cell by chance; bounds that are met."""
    rng = np.random.default_rng((seed, 7))
    peephole, coupled, clip, cell_clip, *changed = (rng.random(7) < 0.5).tolist()
    names, bounds = sorted(SLOPES if trainable else ACTIVATIONS), rng.uniform(0.3, 1.5, 2)
    drawn = zip(("gate", "cell", "hidden"), rng.choice(names, 3).tolist(), changed, strict=True)
    return clstm.Cell(
        peephole=peephole,
        coupled=coupled,
        clip=round(float(bounds[0]), 3) if clip else None,
        cell_clip=round(float(bounds[1]), 3) if cell_clip else None,
        **{slot: activation(name) for slot, name, change in drawn if change},
    )


def random_lengths(rng, steps, batch):
    """Any, in any order; or half of them whole, or half of them empty."""
    lengths = rng.integers(0, steps + 1, batch)
    kind = rng.integers(3)
    half = rng.random(batch) < 0.5
    return tuple(np.where(half & (kind > 0), steps * (kind == 1), lengths).tolist())


def random_pass(seed, largest=4, **fixed):
    """Every option by chance, but what is fixed."""
    rng = np.random.default_rng((seed, 5))
    steps, batch, input_size, hidden_size = rng.integers(1, largest + 1, 4).tolist()
    num_layers = int(rng.integers(1, 4))
    projected, unequal, ragged, learn, given, dropped, recurrent, readout = rng.random(8) < 0.5
    options = {
        "steps": 1 if seed % 7 == 0 else steps,
        "batch": batch,
        "input_size": input_size,
        "hidden_size": hidden_size,
        "num_layers": num_layers,
        "output_size": int(rng.integers(1, largest)) if readout else None,
        "bias": bool(seed % 4),
        "dtype": np.float64,
        "seed": seed,
        "direction": ("forward", "reverse", "both", "both")[rng.integers(4)],
        "proj_size": int(rng.integers(1, hidden_size)) if projected and hidden_size > 1 else 0,
        "learn_state": bool(learn),
    } | fixed
    case = Case(**options)
    if unequal and "lengths" not in fixed:
        case = replace(case, lengths=random_lengths(rng, case.steps, case.batch))
    return Pass(
        case,
        ragged=bool(ragged) and case.lengths is not None,
        with_state=bool(given),
        dropout=bool(dropped) and case.num_layers > 1,
        recurrent_dropout=bool(recurrent),
    )


sizes = st.sampled_from([1, 7, 15, 16, 17, 20, 24, 31, 32, 33, 40, 72]) | st.integers(1, 80)
plain = st.none()  # cells


@st.composite
def passes(draw, cells=plain):
    """The same for Hypothesis, which shrinks failing cases."""
    hidden_size = draw(sizes)
    num_layers, steps, batch = draw(st.integers(1, 3)), draw(st.integers(0, 50)), draw(sizes)
    case = Case(
        steps=steps,
        batch=draw(st.integers(0, 20)) if batch > 40 else batch,
        input_size=draw(sizes),
        hidden_size=hidden_size,
        num_layers=num_layers,
        output_size=draw(st.none() | st.integers(1, 20)),
        bias=draw(st.booleans()),
        dtype=draw(st.sampled_from([np.float32, np.float64])),
        seed=draw(st.integers(0, 10**6)),
        direction=draw(st.sampled_from(["both", "forward", "reverse"])),
        proj_size=draw(st.integers(0, hidden_size - 1)) if draw(st.booleans()) else 0,
        learn_state=draw(st.booleans()),
        cell=draw(cells),
    )
    if draw(st.booleans()):
        rng = np.random.default_rng(case.seed)
        case = replace(case, lengths=random_lengths(rng, steps, case.batch))
    return Pass(
        case,
        ragged=case.lengths is not None and case.batch > 0 and draw(st.booleans()),
        with_state=draw(st.booleans()),
        dropout=num_layers > 1 and draw(st.booleans()),
        recurrent_dropout=draw(st.booleans()),
    )
