"""Keras models with random weights, and the parts of a file written by hand."""

import importlib
import json
import os

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "torch")  # read when keras is imported

FEATURES = 3


class Lazy:
    """A module that is imported when it is first used: Keras takes seconds of every collection."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, attribute):
        if attribute.startswith("_"):
            raise AttributeError(attribute)  # pytest asks every object of a module for its own
        return getattr(importlib.import_module(self.name), attribute)


keras, layers = Lazy("keras"), Lazy("keras.layers")


def sequential(*inner, seed=0):
    """A Keras model without a zero weight."""
    return drawn(keras.Sequential([layers.Input((None, FEATURES)), *inner]), seed)


def drawn(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights([0.6 * rng.standard_normal(w.shape) for w in model.get_weights()])
    return model


def sequence(steps=6, batch=2, seed=0):
    """x (B, T, I), as Keras takes it."""
    rng = np.random.default_rng((seed, 1))
    return rng.standard_normal((batch, steps, FEATURES)).astype(np.float32)


def entry(kind, **config):
    """A layer in a configuration."""
    return {"module": "keras.layers", "class_name": kind, "config": config}


def lstm(**changes):
    return entry("LSTM", **{"name": "rnn", "units": 2, "return_sequences": True} | changes)


def architecture(*entries):
    config = {"layers": list(entries)}
    return json.dumps({"module": "keras", "class_name": "Sequential", "config": config})


def arrays(units=2, inputs=FEATURES, seed=0):
    """Kernel, recurrent kernel and bias of an LSTM layer."""
    rng = np.random.default_rng(seed)
    shapes = (inputs, 4 * units), (units, 4 * units), (4 * units,)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
