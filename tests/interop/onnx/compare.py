"""A graph run by ONNX Runtime, and what clstm.load makes of it: equal, or a reason."""

import numpy as np

import clstm
import clstm.layers
from clstm.interop import onnx as interop


def run(data, feeds):
    """Return the outputs of a graph by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(data, options, providers=providers)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def lstms_of(model):
    """The LSTMs of a model in order, also those inside of skips."""
    if isinstance(model, clstm.LSTM):
        return [model]
    inner = [layer for layer in model.layers if isinstance(layer, (clstm.LSTM, clstm.layers.Skip))]
    return [lstm for layer in inner for lstm in lstms_of(layer)]


def call(model, x, h=None, c=None, lengths=None):
    """Return y, h and c, the states of all LSTMs joined as ONNX's files have them."""
    state = None
    lstms = lstms_of(model)
    if h is not None:
        sizes = [lstm.num_layers * lstm._config.num_directions for lstm in lstms]
        cuts = np.cumsum(sizes)[:-1]
        state = list(zip(np.split(h, cuts), np.split(c, cuts), strict=True))
        state = state[0] if isinstance(model, clstm.LSTM) else state
    given = {} if lengths is None else {"lengths": lengths}
    y, final = model(x, state, **given)
    final = [final] if isinstance(model, clstm.LSTM) else final
    alike = len({pair[0].shape[2] for pair in final}) == 1
    return (y, *(np.concatenate([p[k] for p in final]) for k in (0, 1))) if alike else (y,)


def assert_same(data, feeds, rtol=2e-5, state=()):
    """Every output of the graph is what the model returns, relative to its largest number.

    `state` names the feeds that are h and c; the first feed is x.
    """
    model = interop.load(data)
    expected = list(run(data, feeds).values())
    x = next(iter(feeds.values()))
    actual = call(model, x, *(feeds[name] for name in state))
    for one, other in zip(expected, actual, strict=False):
        assert one.shape == other.shape, (one.shape, other.shape, model)
        scale = max(float(np.abs(one).max()), 1e-3)
        np.testing.assert_allclose(other, one, rtol=0, atol=rtol * scale, err_msg=repr(model))
    return model
