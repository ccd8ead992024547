"""Files of amp models: the numbers are PyTorch's, in the layouts that the programs document."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .sample import Sample
from .torch_files import numbers, seeded


class Amp(nn.Module):
    """LSTMs, and linear layers with activations between and after them."""

    def __init__(self, hidden: int = 4, layers: int = 1, inputs: int = 1):
        super().__init__()
        self.rec = nn.LSTM(inputs, hidden, layers)
        self.lin = nn.Linear(hidden, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin(self.rec(x)[0])


def samples() -> Iterator[Sample]:
    """Yield all samples of this file."""
    yield from guitarml()
    yield from nam()
    yield from rtneural()


def of_json(
    name: str, program: str, value: Any, module: Callable[..., Any], x: torch.Tensor
) -> Sample:
    """Return a sample of a JSON file; y is that of a single sequence (T, .)."""

    def write(path: Path) -> None:
        path.write_text(json.dumps(value), encoding="utf-8")

    with torch.no_grad():
        y = module(x[:, None])[:, 0].numpy()
    return Sample(name, f"layout of {program}", write, x.numpy(), y, True)


# ---- GuitarML ----


def guitarml() -> Iterator[Sample]:
    """Yield models with and without a skip, of one and two layers."""
    for name, skip, layers in (("skip", 1, 1), ("plain", 0, 1), ("deep", 1, 2)):
        amp = seeded(lambda layers=layers: Amp(layers=layers))
        data = {"model": "SimpleRNN", "input_size": 1, "skip": skip, "output_size": 1}
        data |= {"unit_type": "LSTM", "num_layers": layers, "hidden_size": 4, "bias_fl": True}
        state = {n: t.tolist() for n, t in amp.state_dict().items()}

        def run(x: torch.Tensor, amp: Amp = amp, skip: int = skip) -> torch.Tensor:
            return amp(x) + skip * x

        value = {"model_data": data, "state_dict": state}
        yield of_json(f"guitarml/{name}.json", "GuitarML", value, run, numbers(9, 1))


# ---- NAM ----


def nam() -> Iterator[Sample]:
    """Yield models with a start state, sample rates and metadata."""
    for name, layers, extra in (
        ("one_layer", 1, {"sample_rate": 44100, "metadata": {"name": "small", "gain": 0.5}}),
        ("two_layers", 2, {"notes": "made for a test"}),
    ):
        amp = seeded(lambda layers=layers: Amp(layers=layers))
        start = numbers(2, layers, 4, seed=7) / 4
        weights: list[float] = []
        for k in range(layers):
            parts = [getattr(amp.rec, f"{kind}_l{k}") for kind in ("weight_ih", "weight_hh")]
            bias = getattr(amp.rec, f"bias_ih_l{k}") + getattr(amp.rec, f"bias_hh_l{k}")
            rows = torch.cat(parts, 1)
            for part in (rows, bias, start[0, k], start[1, k]):
                weights += part.detach().flatten().tolist()
        weights += amp.lin.weight.detach().flatten().tolist() + amp.lin.bias.tolist()

        def run(x: torch.Tensor, amp: Amp = amp, start: torch.Tensor = start) -> torch.Tensor:
            h, c = start[0][:, None], start[1][:, None]
            return amp.lin(amp.rec(x, (h, c))[0])

        config = {"input_size": 1, "hidden_size": 4, "num_layers": layers}
        value = {"version": "0.5.4", "architecture": "LSTM", "config": config, "weights": weights}
        yield of_json(f"nam/{name}.nam", "Neural Amp Modeler", value | extra, run, numbers(9, 1))


# ---- RTNeural and AIDA-X ----


def rtneural() -> Iterator[Sample]:
    """Yield lists of layers, with skip and gains, and a state dict."""
    amp = seeded(lambda: Amp(inputs=2))
    plain = {"in_shape": [None, None, 2], "layers": [_lstm(amp.rec), _dense(amp.lin)]}
    yield of_json("rtneural/plain.json", "RTNeural", plain, amp, numbers(9, 2))
    parts = seeded(
        lambda: nn.ModuleList([nn.Linear(1, 3), nn.LSTM(3, 4), nn.LSTM(4, 2), nn.Linear(2, 1)])
    )

    def deep(x: torch.Tensor) -> torch.Tensor:
        first, lower, upper, last = parts
        return torch.sigmoid(last(upper(lower(torch.relu(first(x)))[0])[0]))

    first, lower, upper, last = parts
    layers = [_dense(first, "relu"), _lstm(lower), _lstm(upper), _dense(last)]
    layers.append({"type": "activation", "activation": "sigmoid", "shape": [None, None, 1]})
    value = {"in_shape": [None, None, 1], "layers": layers}
    yield of_json("rtneural/deep.json", "RTNeural", value, deep, numbers(9, 1))
    amp = seeded(Amp)
    around = {
        "in_skip": 1,
        "in_gain": 6.0,
        "out_gain": -3.0,
        "author": "a test",
        "samplerate": 48000,
    }
    value = {"in_shape": [None, None, 1], "layers": [_lstm(amp.rec), _dense(amp.lin)]} | around

    def played(x: torch.Tensor) -> torch.Tensor:
        u = 10 ** (6 / 20) * x
        return 10 ** (-3 / 20) * (amp(u) + u)

    yield of_json("rtneural/amp.aidax", "AIDA-X", value, played, numbers(9, 1))
    state = {
        n.replace("rec", "lstm").replace("lin", "dense"): t.tolist()
        for n, t in amp.state_dict().items()
    }
    yield of_json("rtneural/state_dict.json", "RTNeural", state, amp, numbers(9, 1))


def _lstm(lstm: nn.LSTM) -> dict[str, Any]:
    """Return a layer in Keras's layout: matrices transposed, one bias."""
    kernel, recurrent = (np.array(getattr(lstm, f"weight_{k}_l0").detach()).T for k in ("ih", "hh"))
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach()
    weights = [kernel.tolist(), recurrent.tolist(), bias.tolist()]
    return {
        "type": "lstm",
        "activation": "",
        "shape": [None, None, lstm.hidden_size],
        "weights": weights,
    }


def _dense(linear: nn.Linear, activation: str = "") -> dict[str, Any]:
    weights = [linear.weight.detach().T.tolist(), linear.bias.tolist()]
    shape = [None, None, linear.out_features]
    return {"type": "dense", "activation": activation, "shape": shape, "weights": weights}
