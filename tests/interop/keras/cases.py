"""Whole models of every kind that is read, made by Keras 2 or 3, with and without masks."""

import numpy as np

FEATURES, WORDS, STEPS, UNITS = 2, 6, 5, 3
VALUE = -9.0
HOLES = np.array(
    [
        [1, 1, 1, 1, 1],
        [0, 0, 1, 1, 1],  # leading
        [1, 1, 1, 0, 0],  # trailing
        [1, 0, 1, 0, 1],
        [0, 1, 0, 1, 0],
        [0, 0, 0, 0, 0],
    ],
    bool,
)


class Maker:
    """Layers of one Keras, with the sizes of these models."""

    def __init__(self, keras):
        self.keras = keras
        self.layers = keras.layers

    def lstm(self, **options):
        return self.layers.LSTM(UNITS, **{"return_sequences": True} | options)

    def last(self, **options):
        return self.lstm(return_sequences=False, **options)

    def both(self, merge_mode="concat", **options):
        return self.layers.Bidirectional(self.lstm(**options), merge_mode=merge_mode)

    def rnn(self, *sizes, **options):
        cells = [self.layers.LSTMCell(size) for size in sizes]
        cell = cells[0] if len(cells) == 1 else cells
        return self.layers.RNN(cell, **{"return_sequences": True} | options)

    def dense(self, size=2, **options):
        return self.layers.Dense(size, **options)

    def chain(self, *inner, first=(), words=False):
        shape = (STEPS,) if words else (STEPS, FEATURES)
        return self.keras.Sequential([self.layers.Input(shape), *first, *inner])

    def functional(self, build, words=False):
        x = self.layers.Input((STEPS,) if words else (STEPS, FEATURES))
        return self.keras.Model(x, build(self, x))


def _with_states(m, x):
    _, h, _ = m.lstm(return_state=True)(x)
    return m.dense()(h)


def _sequence_of_states(m, x):
    y, _, _ = m.lstm(return_state=True)(x)
    return m.dense()(m.layers.Dropout(0.2)(y))


def _both_states(join):
    def build(m, x):
        _, forward, _, back, _ = m.both(return_state=True)(x)
        return m.dense()(getattr(m.layers, join)()([forward, back]))

    return build


def _both_apart(join):
    def build(m, x):
        return getattr(m.layers, join)()(m.both(merge_mode=None)(x))

    return build


def _plain(m, x):
    return m.dense(activation="tanh")(m.both(return_sequences=False)(m.lstm()(x)))


def _nested(m, x):
    inner = m.chain(m.lstm(), m.layers.Dropout(0.1))
    return m.dense()(m.last()(inner(x)))


def _deep(m):
    inner = m.keras.Sequential([m.layers.Input((STEPS, UNITS)), m.both(), m.dense(4)])
    outer = m.keras.Sequential([m.layers.Input((STEPS, FEATURES)), m.lstm(), inner])
    return m.chain(outer, m.rnn(2, 3), m.dense())


def _frozen(m):
    """Keras lists the weights of what is not trained last."""
    inner = m.chain(m.lstm(trainable=False), m.both(), m.dense(3, trainable=False))
    return m.chain(inner, m.dense(trainable=False), m.last())


# What stands behind the input, a Masking or an Embedding.
INNER = {
    "sequences": lambda m: [m.lstm()],
    "last": lambda m: [m.last()],
    "two": lambda m: [m.lstm(), m.last(), m.dense(activation="softmax")],
    "three": lambda m: [m.lstm(), m.lstm(use_bias=False), m.lstm()],
    "both": lambda m: [m.both()],
    "both last": lambda m: [m.both(return_sequences=False), m.dense(1, activation="sigmoid")],
    "both sum": lambda m: [m.both("sum")],
    "both ave": lambda m: [m.both("ave"), m.dense()],
    "both sum last": lambda m: [m.both("sum", return_sequences=False)],
    "both ave last": lambda m: [m.both("ave", return_sequences=False), m.dense()],
    "both mul": lambda m: [m.both("mul"), m.dense()],
    "both mul last": lambda m: [m.both("mul", return_sequences=False)],
    "both given": lambda m: [
        m.layers.Bidirectional(m.lstm(), backward_layer=m.lstm(go_backwards=True)),
        m.layers.Bidirectional(m.rnn(2, 3), backward_layer=m.rnn(2, 3, go_backwards=True)),
    ],
    "both two": lambda m: [m.both(), m.both("sum"), m.last()],
    "mixed": lambda m: [m.both(), m.lstm()],
    "mixed too": lambda m: [m.lstm(), m.both()],
    "backwards": lambda m: [m.lstm(go_backwards=True)],
    "backwards last": lambda m: [m.last(go_backwards=True), m.dense()],
    "backwards two": lambda m: [m.lstm(go_backwards=True), m.lstm(go_backwards=True), m.last()],
    "backwards first": lambda m: [m.lstm(go_backwards=True), m.lstm()],
    "cell": lambda m: [m.rnn(3)],
    "cells": lambda m: [m.rnn(3, 2, 4)],
    "cells last": lambda m: [m.rnn(3, 2, return_sequences=False)],
    "cells backwards": lambda m: [m.rnn(3, 2, go_backwards=True)],
    "both cells": lambda m: [m.layers.Bidirectional(m.rnn(2, 3))],
    "both cells last": lambda m: [
        m.layers.Bidirectional(m.rnn(2, 3, return_sequences=False), merge_mode="ave")
    ],
    "dense around": lambda m: [
        m.dense(4, activation="relu"),
        m.lstm(),
        m.layers.Activation("tanh"),
        m.layers.TimeDistributed(m.dense(3, use_bias=False)),
        m.layers.Activation("sigmoid"),
    ],
    "noise": lambda m: [
        m.layers.GaussianNoise(0.3),
        m.layers.SpatialDropout1D(0.3),
        m.lstm(dropout=0.2, recurrent_dropout=0.2, unit_forget_bias=False),
        m.layers.GaussianDropout(0.3),
        m.layers.AlphaDropout(0.3),
        m.dense(activation="elu"),
    ],
    "stateful": lambda m: [m.lstm(unroll=True), m.dense()],
    "hard": lambda m: [m.lstm(recurrent_activation="hard_sigmoid", activation="softsign")],
    "nested": lambda m: [m.keras.Sequential([m.lstm(), m.both()]), m.last()],
}
# Functional models.
GRAPHS = {
    "plain": _plain,
    "states": _with_states,
    "sequence of states": _sequence_of_states,
    "both states": _both_states("Concatenate"),
    "both states sum": _both_states("Add"),
    "both states ave": _both_states("Average"),
    "both states mul": _both_states("Multiply"),
    "nested": _nested,
}
_UNMASKED_GRAPHS = {
    "both apart": _both_apart("Concatenate"),
    "both apart sum": _both_apart("Add"),
    "both apart mul": _both_apart("Multiply"),
}
OTHERS = {
    "deep": _deep,
    "frozen": _frozen,
    "zero": lambda m: m.chain(
        m.lstm(zero_output_for_mask=True), m.dense(), first=[m.layers.Masking(VALUE)]
    ),
    "zero last": lambda m: m.chain(
        m.last(zero_output_for_mask=True), m.dense(), first=[m.layers.Masking(VALUE)]
    ),
    "zero both last": lambda m: m.chain(
        m.both(return_sequences=False, zero_output_for_mask=True),
        m.dense(),
        first=[m.layers.Masking(VALUE)],
    ),
    "zero backwards last": lambda m: m.chain(
        m.last(go_backwards=True, zero_output_for_mask=True), first=[m.layers.Masking(VALUE)]
    ),
    "zero cells last": lambda m: m.chain(
        m.rnn(2, 3, return_sequences=False, zero_output_for_mask=True),
        m.dense(),
        first=[_embedding(m)],
        words=True,
    ),
    "zero state": lambda m: m.functional(
        lambda m, x: m.dense()(
            m.lstm(return_state=True, zero_output_for_mask=True)(m.layers.Masking(VALUE)(x))[1]
        )
    ),
    "relu": lambda m: m.chain(m.lstm(), m.dense(), m.layers.ReLU()),
    "softmax": lambda m: m.chain(m.lstm(), m.dense(), m.layers.Softmax()),
    "double": lambda m: m.chain(m.lstm(dtype="float64"), m.dense(dtype="float64")),
}
ONLY_KERAS_3 = [name for name in OTHERS if name.startswith("zero")]


def _all():
    """Yield the name and the maker of every model."""
    for name, inner in INNER.items():
        yield name, lambda m, f=inner: m.chain(*f(m))
        yield (
            f"{name}, masked",
            lambda m, f=inner: m.chain(*f(m), first=[m.layers.Masking(VALUE)]),
        )
        yield (
            f"{name}, words",
            lambda m, f=inner: m.chain(*f(m), first=[_embedding(m)], words=True),
        )
    for name, build in (GRAPHS | _UNMASKED_GRAPHS).items():
        yield f"graph {name}", lambda m, f=build: m.functional(f)
    for name, build in GRAPHS.items():
        yield (
            f"graph {name}, masked",
            lambda m, f=build: m.functional(lambda m, x: f(m, m.layers.Masking(VALUE)(x))),
        )
        yield (
            f"graph {name}, words",
            lambda m, f=build: m.functional(lambda m, x: f(m, _embedding(m)(x)), words=True),
        )
    yield from OTHERS.items()


def result(model, x):
    """Return what Keras computes, without compiling it."""
    y = model(x)
    return y.detach().numpy() if hasattr(y, "detach") else np.asarray(y)


def _embedding(m):
    return m.layers.Embedding(WORDS, FEATURES, mask_zero=True)


MODELS = dict(_all())


def made(name, keras):
    """Return a model with random weights, and its input."""
    model = MODELS[name](Maker(keras))
    rng = np.random.default_rng(sum(map(ord, name)))
    model.set_weights([0.7 * rng.standard_normal(w.shape) for w in model.get_weights()])
    if len(model.input_shape) == 2:
        return model, rng.integers(1, WORDS, HOLES.shape) * HOLES
    x = rng.standard_normal((*HOLES.shape, FEATURES)).astype(np.float32)
    x[~HOLES] = VALUE
    return model, x
