"""Modules of PyTorch as both of its exporters write them."""

import io
import itertools
import logging
import warnings

import numpy as np

STEPS, BATCH, INPUTS, UNITS, CLASSES, WORDS = 6, 5, 3, 4, 2, 11


def module(
    last="", head="", returns="y", words=False, before="", num_layers=1, batch_first=True, **options
):
    """A module of an LSTM, with what stands around it in trained models."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(WORDS, INPUTS) if words else None
            self.first = torch.nn.Linear(INPUTS, INPUTS) if before else None
            options["proj_size"] = options.get("proj_size", 0)
            self.lstm = torch.nn.LSTM(INPUTS, UNITS, num_layers, batch_first=batch_first, **options)
            width = (options["proj_size"] or UNITS) * (1 + self.lstm.bidirectional)
            width = UNITS if last == "h_n" else width
            heads = {
                "": [],
                "linear": [torch.nn.Linear(width, CLASSES)],
                "no bias": [torch.nn.Linear(width, CLASSES, bias=False)],
                "tanh": [torch.nn.Linear(width, CLASSES), torch.nn.Tanh()],
                "mlp": [
                    torch.nn.Linear(width, UNITS),
                    torch.nn.ReLU(),
                    torch.nn.Dropout(0.5),
                    torch.nn.Linear(UNITS, CLASSES),
                ],
                "softmax": [torch.nn.Linear(width, CLASSES), torch.nn.Softmax(dim=-1)],
                "sigmoid": [torch.nn.Linear(width, 1), torch.nn.Sigmoid()],
                "relu": [torch.nn.ReLU(), torch.nn.Linear(width, CLASSES)],
            }
            self.head = torch.nn.Sequential(*heads[head])

        def forward(self, x, h0=None, c0=None):
            x = self.embedding(x) if self.embedding is not None else x
            x = torch.tanh(self.first(x)) if self.first is not None else x
            y, (h, c) = self.lstm(x, None if h0 is None else (h0, c0))
            if last == "step":
                y = y[:, -1] if batch_first else y[-1]
            elif last == "slice":
                y = y[:, -1:].squeeze(1) if batch_first else y[-1:].squeeze(0)
            elif last == "h_n":
                y = h[-1]
            elif last == "ends":
                y = torch.cat([h[-2], h[-1]], dim=-1) if self.lstm.bidirectional else h[-1]
            elif last == "view":
                y = h.view(num_layers, 1 + self.lstm.bidirectional, h.shape[1], -1)[-1]
                y = y.transpose(0, 1).reshape(h.shape[1], -1)
            y = self.head(y)
            return y if returns == "y" else (y, h, c)

    torch.manual_seed(num_layers)
    return Model().eval()


def export(made, arguments, names, axes, dynamo, **options):
    """Return the bytes of a module's graph; axes of free size by the names of the inputs."""
    import torch

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            if not dynamo:
                file = io.BytesIO()
                torch.onnx.export(
                    made, arguments, file, dynamo=False, input_names=names, dynamic_axes=axes,
                    opset_version=options.get("opset", 17),
                )  # fmt: skip
                return file.getvalue()
            shapes = {n: dict.fromkeys(own, "batch") for n, own in axes.items()} if axes else None
            program = torch.onnx.export(
                made, arguments, dynamo=True, dynamic_shapes=shapes, verbose=False,
                optimize=options.get("optimize", True),
            )  # fmt: skip
            return program.model_proto.SerializeToString()
    finally:
        logging.disable(logging.NOTSET)


def graph_of(options, dynamo, free, with_state=False):
    """Return a graph and arrays for its inputs, in other sizes than it was written with if free."""
    import torch

    made = module(**options)
    first = options.get("batch_first", True)
    rng = np.random.default_rng(0)

    def arrays(steps, batch):
        shape = (batch, steps) if first else (steps, batch)
        if options.get("words"):
            given = {"x": rng.integers(0, WORDS, shape)}
        else:
            given = {"x": rng.standard_normal((*shape, INPUTS)).astype(np.float32)}
        if with_state:
            parts = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
            for name in ("h0", "c0"):
                given[name] = rng.standard_normal((parts, batch, UNITS)).astype(np.float32)
        return given

    example = arrays(STEPS, BATCH)
    tensors = tuple(torch.from_numpy(array) for array in example.values())
    rows = [0 if first else 1]
    axes = {"x": rows if dynamo else [0, 1], "h0": [1], "c0": [1]} if free else {}
    axes = {name: own for name, own in axes.items() if name in example}
    data = export(made, tensors, list(example), axes, dynamo)
    if not free:
        return data, example
    # The newer exporter writes the number of steps of its example for LSTMs.
    return data, arrays(STEPS + 3 * (not dynamo), BATCH - 2)


def variants():
    """Yield the options of modules, by name: what ordinary models are made of."""
    yes = [False, True]
    for layers, both, first in itertools.product((1, 2, 3), yes, yes):
        name = f"{layers} layers{', both' * both}{', batch first' * first}"
        yield name, {"num_layers": layers, "bidirectional": both, "batch_first": first}
    for head in ("linear", "no bias", "tanh", "mlp", "softmax", "sigmoid", "relu"):
        yield head, {"head": head, "num_layers": 2}
        yield f"{head}, both", {"head": head, "bidirectional": True, "batch_first": False}
    for last, both in itertools.product(("step", "slice", "h_n", "ends", "view"), yes):
        for layers, first in ((1, True), (2, False)):
            if last == "h_n" and both:
                continue
            options = {"last": last, "bidirectional": both, "batch_first": first, "head": "linear"}
            yield f"{last}, {layers} layers{', both' * both}", options | {"num_layers": layers}
    yield "words", {"words": True, "head": "linear", "last": "step"}
    yield "words, both", {"words": True, "head": "mlp", "last": "ends", "bidirectional": True}
    yield "before", {"before": "linear", "head": "linear"}
    yield "dropout", {"num_layers": 2, "dropout": 0.5, "head": "mlp"}
    yield "no biases", {"num_layers": 2, "bias": False, "head": "linear"}
    yield "states", {"num_layers": 2, "bidirectional": True, "returns": "all", "head": "linear"}
