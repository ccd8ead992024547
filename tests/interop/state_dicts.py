"""State dicts in every spelling that readers know, and the model that each one is."""

import numpy as np

import clstm


def _model(bias=True, **options):
    return clstm.LSTM(5, 7, bias=bias, rng=0, **options)


def _head(bias=True):
    rng = np.random.default_rng(1)
    linear = {"weight": rng.standard_normal((3, 7)).astype(np.float32)}
    return linear | ({"bias": rng.standard_normal(3).astype(np.float32)} if bias else {})


def _below(prefix, values):
    return {prefix + name: value for name, value in values.items()}


def _cell(model):
    return {n.removesuffix("_l0"): v for n, v in model.state_dict(torch_names=True).items()}


def _joined(model, linear):
    """The model with a readout, by equations: the biases that are not there are zero."""
    bias = model.bias or "bias" in linear
    both = clstm.LSTM(5, 7, output_size=3, bias=bias, rng=0)
    with both.edit() as parameters:
        for name, array in parameters.items():
            array[...] = model.parameters.get(name, 0)
        parameters["weight_out"][...] = linear["weight"]
        if bias:
            parameters["bias_out"][...] = linear.get("bias", 0)
    return both


def spellings():
    """Yield name, state dict, arguments of a reader, and the model."""
    model, deep = _model(), _model(num_layers=2, bidirectional=True)
    pairs = model.state_dict(torch_names=True)
    yield "our names", model.state_dict(), {}, model
    yield "PyTorch's names", deep.state_dict(torch_names=True), {}, deep
    yield "a readout of ours", *_own_readout()
    yield "LSTMCell", _cell(model), {}, model
    yield "LSTMCell without biases", _cell(_model(bias=False)), {}, _model(bias=False)
    yield "a wrapper", _below("module.", pairs), {}, model
    yield "two wrappers", _below("_orig_mod.module.", deep.state_dict()), {}, deep
    yield "a wrapped LSTMCell", _below("module.cell.", _cell(model)), {}, model
    others = {"norm.weight": np.ones(3, np.float32), "lstm2.weight_ih_l0": np.ones(3, np.float32)}
    larger = _below("lstm.", pairs) | others
    yield "a larger model", larger, {"prefix": "lstm."}, model
    yield "a wrapped larger model", _below("module.", larger), {"prefix": "lstm."}, model
    yield "the whole prefix", _below("module.", larger), {"prefix": "module.lstm."}, model
    yield "a cell inside", _below("cell.", _cell(model)) | others, {"prefix": "cell."}, model
    for bias in (True, False):
        for head_bias in (True, False):
            lstm, linear = _model(bias=bias), _head(head_bias)
            state = _below("lstm.", lstm.state_dict(torch_names=True)) | _below("fc.", linear)
            given, both = {"prefix": "lstm.", "head": "fc."}, _joined(lstm, linear)
            name = f"a head, biases {bias}, {head_bias}"
            yield name, state, given, both
            yield f"{name}, wrapped", _below("module.", state), given, both
    linear = _head()
    state = _cell(model) | _below("fc.", linear)
    yield "a cell with a head", state, {"head": "fc."}, _joined(model, linear)
    inside = _below("net.", pairs) | _below("net.fc.", linear)
    yield "a head below", inside, {"prefix": "net.", "head": "net.fc."}, _joined(model, linear)


def _own_readout():
    model = _model(output_size=3)
    return _below("encoder.", model.state_dict(torch_names=True)), {}, model


SPELLINGS = {name: rest for name, *rest in spellings()}
