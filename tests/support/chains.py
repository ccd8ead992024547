"""Models of every layer kind, forms of x, and gradients of a `Sequential` by finite differences."""

import copy

import numpy as np

import clstm
from clstm.layers import Dense, Embedding, Gain, Last, Masking, Product, Reverse, Skip

RNG = np.random.default_rng(0)
LENGTHS = [4, 0, 6]
FORMS = ["dense", "batch_first", "single", "lengths", "batch_first lengths", "list"]


def lstm(inputs, units=5, **options):
    return clstm.LSTM(inputs, units, dtype=np.float64, rng=inputs + units, **options)


def dense(outputs, inputs, activation="", bias=True):
    rng = np.random.default_rng(outputs)
    weight = rng.standard_normal((outputs, inputs)) / 2
    return Dense(weight, rng.standard_normal(outputs) / 2 if bias else None, activation)


CHAINS = {
    "readout": [lstm(3, output_size=2)],
    "dense": [dense(4, 3, "tanh"), lstm(4), dense(6, 5, "elu"), dense(2, 6, "softmax")],
    "functions": [lstm(3), Dense(activation="sigmoid"), dense(4, 5, "relu", bias=False)],
    "last": [lstm(3, num_layers=2), Last(), dense(2, 5)],
    "both ends": [lstm(3, bidirectional=True), Gain(0.5), Last(ends=True), dense(2, 10)],
    "both last": [lstm(3, bidirectional=True), lstm(10), lstm(5, bidirectional=True), Last()],
    "reverse": [lstm(3, direction="reverse"), Last(ends=True)],
    "skip": [Gain(2.0), Skip([lstm(3, 8), dense(1, 8)]), Gain(-0.5)],
    "wide skip": [Skip([lstm(3), Skip([lstm(5, output_size=2)]), dense(3, 2)], count=3)],
    "masked": [Masking(9.0), lstm(3), dense(4, 5), lstm(4, bidirectional=True)],
    "masked last": [Masking(9.0), lstm(3, bidirectional=True), Last(ends=True), dense(2, 10)],
    "masked zero": [Masking(9.0, zero_masked=True), lstm(3, direction="reverse"), Last()],
    "masked zero ends": [
        Masking(9.0, zero_masked=True),
        lstm(3, bidirectional=True),
        Last(ends=True),
    ],
    "products": [Product(), lstm(3, bidirectional=True), Product(), dense(2, 5)],
    "product of ends": [lstm(3, 4, bidirectional=True), Last(ends=True), Product(), Product()],
    "reversed": [lstm(3, direction="reverse"), Reverse(), lstm(5), Reverse()],
    "masked reversed": [Masking(9.0), lstm(3), Reverse(), lstm(5, bidirectional=True)],
    "words": [Embedding(RNG.standard_normal((7, 3))), lstm(3, bidirectional=True), Last()],
    "masked words": [Embedding(RNG.standard_normal((7, 3)), mask_zero=True), lstm(3), lstm(5)],
}


def model_of(name, form):
    return clstm.Sequential(CHAINS[name], batch_first="batch_first" in form)


def given(model, form, rng, masked=True):
    """Return x, and the keyword arguments of a call."""
    shape = {"single": (6,)}.get(form, (3, 6) if "batch_first" in form else (6, 3))
    if model.input_size is None:
        x = rng.integers(0, 7, shape)
    else:
        x = rng.standard_normal((*shape, model.input_size))
        if masked and isinstance(model.layers[0], Masking):
            x[rng.random(shape) < 0.4] = 9.0
    if form == "list":
        return [x[:length, k] for k, length in enumerate(LENGTHS)], {}
    return x, {"lengths": LENGTHS} if "lengths" in form else {}


def parts_of(sequence):
    return sequence if isinstance(sequence, list) else [sequence]


def moved(layers, name, place, step):
    """Return the layers with one element of a parameter moved."""
    number, _, rest = name.partition(".")
    result = list(layers)
    layer = result[int(number)]
    if isinstance(layer, Skip):
        result[int(number)] = Skip(moved(layer.layers, rest, place, step), layer.count)
    elif isinstance(layer, clstm.LSTM):
        result[int(number)] = copy.deepcopy(layer)
        with result[int(number)].edit() as parameters:
            parameters[rest][place] += step
    else:
        array = layer.parameters[rest].copy()
        array[place] += step
        result[int(number)] = layer.with_parameters({rest: array})
    return result


def assert_differences(model, x, options, rng, /, **dropout):
    """Check the gradients of one element of each parameter and of each row of x."""
    tape = model.record(x, **options, **dropout)
    weights = [rng.standard_normal(np.shape(part)) for part in parts_of(tape.y)]
    state_weights = [[rng.standard_normal(a.shape) for a in pair] for pair in tape.state]

    def loss(layers, x):
        again = clstm.Sequential(layers, model.batch_first)
        if dropout:
            same = again.record(x, **options, **dropout)
            y, state = same.y, same.state
        else:
            y, state = again(x, **options)
        total = sum((w * part).sum() for w, part in zip(weights, parts_of(y), strict=True))
        for pair, own in zip(state, state_weights, strict=True):
            total += sum((w * a).sum() for w, a in zip(own, pair, strict=True))
        return total

    dy = weights if isinstance(tape.y, list) else weights[0]
    grad = tape.backward(dy, state_weights)
    step = 1e-5
    for name, array in grad.parameters.items():
        place = tuple(rng.integers(0, size) for size in array.shape)
        ends = [loss(moved(model.layers, name, place, sign * step), x) for sign in (1, -1)]
        np.testing.assert_allclose(
            array[place], (ends[0] - ends[1]) / (2 * step), rtol=2e-6, atol=2e-7
        )
    if model.input_size is None:
        assert grad.x is None
        return
    for part, own in zip(parts_of(grad.x), parts_of(x), strict=True):
        candidates = np.argwhere(np.broadcast_to((own != 9.0).any(-1, keepdims=True), own.shape))
        if len(candidates):
            place = tuple(candidates[rng.integers(len(candidates))])
            ends = []
            for sign in (1, -1):
                own[place] += sign * step
                ends.append(loss(model.layers, x))
                own[place] -= sign * step
            np.testing.assert_allclose(
                part[place], (ends[0] - ends[1]) / (2 * step), rtol=2e-6, atol=2e-7
            )
