"""Helpers for file formats: an LSTM by gates, independent of any order, and mutated files."""

import copy
import json
from dataclasses import MISSING, fields

import numpy as np
import pytest

import clstm
from clstm.cell import PLAIN, Slot
from clstm.configuration import Configuration, DType
from clstm.interop.layers import IN_EVERY_FORMAT
from clstm.options import Bound, Choice, Flag, Size, kinds

GATES = "ifgo"


def another(kind, default):
    """A value of an option of this kind that is not its default."""
    match kind:
        case Flag():
            return not default
        case Choice():
            return next(word for word in kind.words if word != default)
        case Size():
            return (default or 1) + 1
        case Bound():
            return 0.5
        case Slot():
            return "relu"
        case DType():
            return np.float64
    raise TypeError(f"{kind}: a new kind of option needs its line here")


def changed_options():
    """Every option of a model, and of its cell, that has a default: arguments that change it."""
    cells = [
        {"cell": clstm.Cell(**{name: another(kind, getattr(PLAIN, name))})}
        for name, kind in kinds(clstm.Cell).items()
    ]
    defaults = {f.name: f.default for f in fields(Configuration) if f.default is not MISSING}
    options = kinds(Configuration)
    own = [{n: another(options[n], default)} for n, default in defaults.items() if n != "cell"]
    return (*own, *cells)


CHANGED = changed_options()
NOT_PLAIN = tuple(options for options in CHANGED if not options.keys() & set(IN_EVERY_FORMAT))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def draw_layer(rng, inputs, hidden):
    """One layer in float32, a matrix and a bias for each gate, so that none can take another's."""
    shapes = {"w": (hidden, inputs), "r": (hidden, hidden), "b": (hidden,)}
    return {
        kind: {gate: rng.standard_normal(shape).astype(np.float32) for gate in GATES}
        for kind, shape in shapes.items()
    }


def by_gate(array, order, axis=0):
    """Take a file's blocks apart, in the order that the format's own definition gives."""
    return dict(zip(order, np.split(np.array(array, float), len(order), axis), strict=True))


def forward(layers, x, h0=None, c0=None):
    """y (T, H) of layers as `draw_layer` has them, in float64."""
    y = np.array(x, float)
    for k, layer in enumerate(layers):
        hidden = len(layer["b"]["i"])
        h, c = (np.zeros(hidden) if s is None else np.array(s[k], float) for s in (h0, c0))
        steps = []
        for x_t in y:
            a = {g: layer["w"][g] @ x_t + layer["r"][g] @ h + layer["b"][g] for g in GATES}
            c = sigmoid(a["f"]) * c + sigmoid(a["i"]) * np.tanh(a["g"])
            h = sigmoid(a["o"]) * np.tanh(c)
            steps.append(h)
        y = np.array(steps)
    return y


def draw_model(input_size=2, hidden_size=3, num_layers=2, output_size=2, seed=0, **options):
    """A model without a zero parameter."""
    options = {"output_size": output_size} | options
    model = clstm.LSTM(input_size, hidden_size, num_layers, rng=seed, **options)
    rng = np.random.default_rng(seed)
    with model.edit() as parameters:
        parameters.flat = rng.standard_normal(parameters.flat.shape)
    return model


def assert_same_model(actual, expected):
    assert repr(actual) == repr(expected)
    np.testing.assert_array_equal(actual.parameters.flat, expected.parameters.flat)


def write(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def changed(value, *steps, to):
    """A copy of a JSON value with one place in it replaced."""
    value = copy.deepcopy(value)
    place = value
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = to
    return value


def refuses(reader, path, value, match):
    """The reader says what is wrong, and where."""
    write(path, value)
    with pytest.raises(ValueError, match=match) as caught:
        reader(path)
    assert str(path) in str(caught.value)


# ---- Mutations ----

REPLACEMENTS = (
    *(None, True, 0, 1, 2, -1, 3, 0.5, 10**6, 10**30, 10**400, -(10**25), 1e300, "", "x"),
    *("tanh", "gru", "nan", [], {}, [[]], [[1.0]], {"a": 1}, [1, 2, 3]),
)
BYTES = (b"[", b"]", b"{", b"}", b",", b'"', b"NaN", b"-Infinity", b"1e999", b"9", b"\xff", b"\0")


def places(value):
    """Every container in a JSON value, with one of its keys."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


def mutate_value(value, rng):
    """Change one place, more often one that is no number among many."""
    value = copy.deepcopy(value)
    found = list(places(value))
    few = [place for place in found if isinstance(place[0], dict) or len(place[0]) < 4]
    chosen = few if rng.random() < 0.7 else found
    container, key = chosen[rng.integers(len(chosen))]
    kind = rng.integers(5)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[f"{key}x"] = container.pop(key)
    elif kind == 2 and isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    elif kind == 3 and isinstance(container[key], int):
        container[key] += int(rng.integers(-1, 2))
    else:
        container[key] = REPLACEMENTS[rng.integers(len(REPLACEMENTS))]
    return json.dumps(value).encode()


def mutate_bytes(data, rng):
    """Cut, repeat or overwrite some bytes."""
    begin, length = int(rng.integers(len(data))), int(rng.integers(1, 9))
    middle = (b"", 2 * data[begin : begin + length], BYTES[rng.integers(len(BYTES))])
    end = len(data) if rng.random() < 0.1 else begin + length
    return data[:begin] + middle[rng.integers(3)] + data[end:]


def survives_mutations(read, value, path, count, seed=0):
    """Mutated files raise a ValueError that names them, or give layers that run; both happen."""
    rng = np.random.default_rng(seed)
    data = json.dumps(value).encode()
    refused = 0
    for _ in range(count):
        by_bytes = rng.random() < 0.4
        mutated = mutate_bytes(data, rng) if by_bytes else mutate_value(value, rng)
        path.write_bytes(mutated)
        try:
            layers = read(path)
        except ValueError as error:
            assert str(path) in str(error), mutated
            refused += 1
        else:
            check_runs(layers, mutated)
    assert count // 4 < refused < count


def check_runs(layers, data):
    """A model that was read is whole: it takes a sequence."""
    model = layers if isinstance(layers, clstm.Sequential) else clstm.Sequential(layers)
    with np.errstate(all="ignore"):
        assert model(np.ones((2, model.input_size)))[0].shape[0] == 2, data
