"""Files that PyTorch writes: state dicts, checkpoints, modules, TorchScript; safetensors, .npz."""

import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from . import torch_models as models
from .sample import Sample

PROGRAM = f"torch {torch.__version__.partition('+')[0]}"
HALF = {torch.float16: 2e-3, torch.bfloat16: 2e-2}


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Return a module in evaluation mode, with weights that depend on the seed alone."""
    torch.manual_seed(seed)
    return make().eval()


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    """Return float32 numbers."""
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape), dtype=torch.float32)


def words(*shape: int) -> torch.Tensor:
    """Return indices below 7."""
    return torch.tensor(np.random.default_rng(2).integers(7, size=shape))


def result(module: Callable[..., Any], x: torch.Tensor) -> np.ndarray:
    """Return y; without the states that an LSTM gives beside it."""
    with torch.no_grad():
        y = module(x)
    y = y[0] if isinstance(y, tuple) else y
    array: np.ndarray = y.float().numpy() if y.dtype in HALF else y.numpy()
    return array


def of_saved(
    name: str,
    content: Any,
    module: Callable[..., Any],
    x: torch.Tensor,
    stream: bool = False,
    **options: Any,
) -> Sample:
    """Return a sample of `torch.save`."""

    def write(path: Path) -> None:
        torch.save(content, path)

    y = result(module, x)
    return Sample(f"torch/{name}.pt", PROGRAM, write, x.numpy(), y, stream, options)


def samples() -> Iterator[Sample]:
    """Yield all samples of this file."""
    yield from state_dicts()
    yield from checkpoints()
    yield from training_programs()
    yield from half_precision()
    yield from modules()
    yield from scripts()
    yield from other_containers()


# ---- Weights alone ----


def state_dicts() -> Iterator[Sample]:
    """Yield state dicts; some options say what weights cannot."""
    for name, stream, options in (
        ("lstm", True, {}),
        ("lstm_batch_first", True, {"batch_first": True}),
        ("lstm_three_layers_bidirectional", False, {"num_layers": 3, "bidirectional": True}),
        ("lstm_projected", True, {"num_layers": 2, "proj_size": 2}),
        ("lstm_without_bias", False, {"bias": False, "bidirectional": True, "proj_size": 2}),
    ):
        lstm = seeded(lambda options=options: nn.LSTM(3, 4, **options))
        given = {"batch_first": True} if lstm.batch_first else {}
        yield of_saved(name, lstm.state_dict(), lstm, numbers(5, 2, 3), stream, **given)
    double = seeded(lambda: nn.LSTM(3, 4)).double()
    yield of_saved("lstm_float64", double.state_dict(), double, numbers(5, 2, 3).double(), True)
    cell = seeded(lambda: nn.LSTMCell(3, 4))
    yield of_saved("cell", cell.state_dict(), unrolled(cell), numbers(5, 2, 3), True)
    model = seeded(models.Flattened)
    headed = {f"module.{n}": t for n, t in model.state_dict().items()}  # of DataParallel

    def linear(x: torch.Tensor) -> torch.Tensor:
        return model.decoder(model.rnn(x)[0])

    yield of_saved("wrapped_with_head", headed, linear, numbers(2, 5, 3), True, batch_first=True)


def unrolled(cell: nn.LSTMCell) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what calls a cell step by step."""

    def run(x: torch.Tensor) -> torch.Tensor:
        state, y = None, []
        for x_t in x:
            state = cell(x_t, state)
            y.append(state[0])
        return torch.stack(y)

    return run


def checkpoints() -> Iterator[Sample]:
    """Yield what training programs write."""
    model, average = (seeded(lambda: nn.LSTM(3, 4, 2), seed) for seed in (0, 1))
    adam = torch.optim.Adam(model.parameters())
    rest = {"epoch": 3, "optimizer": adam.state_dict(), "loss": torch.tensor(0.5)}
    content = {"model": {"weights": model.state_dict()}} | rest
    yield of_saved("checkpoint", content, model, numbers(5, 2, 3), True)
    content = content | {"ema": average.state_dict()}
    x = numbers(5, 2, 3)
    yield of_saved("checkpoint_of_two", content, average, x, True, key="ema")
    pair = nn.ModuleDict({"encoder": model, "decoder": average})
    yield of_saved("two_lstms", pair.state_dict(), average, x, True, prefix="decoder.")


def training_programs() -> Iterator[Sample]:
    """Yield checkpoints with the layout of programs for training, and dictionaries of arrays."""
    model, x = seeded(models.Flattened), numbers(2, 5, 3)

    def linear(x: torch.Tensor) -> torch.Tensor:
        return model.decoder(model.rnn(x)[0])

    adam = torch.optim.Adam(model.parameters())
    linear(x).sum().backward()
    adam.step()
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    rest = {"epoch": 3, "optimizer_states": [adam.state_dict()], "hyper_parameters": {"size": 4}}
    rest |= {"lr_schedulers": [], "callbacks": {"best": {"score": torch.tensor(0.5)}}}
    first = {"batch_first": True}
    yield of_saved("lightning_layout", {"state_dict": state} | rest, linear, x, True, **first)
    content = {"models": [{"epoch": 3, "weights": state}]}
    yield of_saved("checkpoint_in_a_list", content, linear, x, True, **first)
    arrays = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    yield of_saved("numpy_arrays", {"weights": arrays}, linear, x, True, **first)

    def dump(path: Path) -> None:
        path.write_bytes(pickle.dumps(arrays, protocol=4))

    y = result(linear, x)
    yield Sample("torch/numpy_arrays.pkl", PROGRAM, dump, x.numpy(), y, True, first)
    halves = {name: array.astype(np.float16) for name, array in arrays.items()}

    def save(path: Path) -> None:
        np.savez(path, **halves)

    yield Sample("npz/float16.npz", PROGRAM, save, x.numpy(), y, True, first, HALF[torch.float16])


def half_precision() -> Iterator[Sample]:
    """Yield numbers of 16 bits, which PyTorch computes with them, too."""
    for dtype, error in HALF.items():
        lstm = seeded(lambda: nn.LSTM(3, 4)).to(dtype)
        x = numbers(5, 2, 3).to(dtype)
        name = f"lstm_{str(dtype).removeprefix('torch.')}"
        given, y = x.float().numpy(), result(lstm, x)
        state = lstm.state_dict()

        def save(path: Path, state: Any = state) -> None:
            torch.save(state, path)

        def save_tensors(path: Path, state: Any = state) -> None:
            save_file(state, path)

        yield Sample(f"torch/{name}.pt", PROGRAM, save, given, y, True, {}, error)
        yield Sample(
            f"safetensors/{name}.safetensors", PROGRAM, save_tensors, given, y, True, {}, error
        )


# ---- Whole modules ----


def modules() -> Iterator[Sample]:
    """Yield pickled modules."""
    lstm = seeded(lambda: nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True))
    yield of_saved("module_lstm", lstm, lstm, numbers(2, 5, 3))
    cell = seeded(lambda: nn.LSTMCell(3, 4))
    yield of_saved("module_cell", cell, unrolled(cell), numbers(5, 2, 3), True)
    chain = seeded(sequential)
    yield of_saved("module_sequential", chain, chain, words(5, 2), True)


def sequential() -> nn.Module:
    """Return a Sequential of all layers that PyTorch can put before an LSTM."""
    inner = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3, bias=False), nn.Softmax(-1))
    parts = (nn.Embedding(7, 3), nn.Dropout(0.2), inner, nn.Tanh(), nn.Sigmoid(), nn.ELU())
    return nn.Sequential(*parts, nn.LSTM(3, 4, 2))


# ---- TorchScript ----


def scripts() -> Iterator[Sample]:
    """Yield traced and scripted modules."""
    for name, make, x, stream in (
        ("lstm", lambda: nn.LSTM(3, 4), numbers(5, 2, 3), True),
        ("lstm_deep", deep, numbers(2, 5, 3), False),
        ("sequential", sequential, words(5, 2), True),
        ("classifier", models.Classifier, words(2, 5), False),
        ("tagger", lambda: models.Classifier(False, True), words(2, 5), False),
        ("forecaster", models.Forecaster, numbers(2, 5, 2), False),
        ("sentiment", models.Sentiment, numbers(5, 2, 3), False),
        ("merged", models.Merged, numbers(2, 5, 3), False),
        ("halves", models.Halves, numbers(2, 5, 3), False),
        ("flattened", models.Flattened, numbers(2, 5, 3), True),
        ("learned", models.Learned, numbers(5, 2, 3), True),
        ("transposed", models.Transposed, numbers(2, 5, 3), False),
        ("amplifier", models.Amplifier, numbers(2, 5, 2), True),
        ("residual", models.Residual, numbers(2, 5, 3), True),
        ("streamed", models.Streamed, numbers(2, 5, 3), True),
        ("regressor", models.Regressor, numbers(2, 5, 2), False),
        ("by_hand", models.ByHand, numbers(5, 2, 3), True),
    ):
        module = seeded(make)
        for kind in ("traced", "scripted"):
            yield of_script(f"{name}_{kind}", module, x, stream, kind)
    frozen = torch.jit.freeze(torch.jit.script(seeded(models.Classifier)))
    yield of_script("classifier_frozen", frozen, words(2, 5), False, "frozen")


def deep() -> nn.Module:
    """Return an LSTM with all options that its names do not tell."""
    options = {"batch_first": True, "bidirectional": True, "proj_size": 2, "bias": False}
    return nn.LSTM(3, 4, 3, dropout=0.5, **options)


def of_script(name: str, module: Any, x: torch.Tensor, stream: bool, kind: str) -> Sample:
    """Return a sample of `torch.jit.save`."""

    def write(path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer versions of PyTorch recommend others
            made = {
                "traced": lambda: torch.jit.trace(module, x),
                "scripted": lambda: torch.jit.script(module),
                "frozen": lambda: module,
            }[kind]()
            torch.jit.save(made, path)

    y = result(module, x)
    return Sample(f"torch/{name}.pt", PROGRAM, write, x.numpy(), y, stream)


# ---- The same weights elsewhere ----


def other_containers() -> Iterator[Sample]:
    """Yield safetensors files, and NumPy's."""
    model = seeded(models.Flattened)
    state = dict(model.state_dict())
    x = numbers(2, 5, 3)
    with torch.no_grad():
        y = model.decoder(model.rnn(x)[0]).numpy()
    options = {"batch_first": True}

    def save_tensors(path: Path) -> None:
        save_file(state, path)

    def save_arrays(path: Path) -> None:
        np.savez_compressed(path, **{name: tensor.numpy() for name, tensor in state.items()})

    for name, write in (
        ("safetensors/with_head.safetensors", save_tensors),
        ("npz/with_head.npz", save_arrays),
    ):
        yield Sample(name, PROGRAM, write, x.numpy(), y, True, options)
    pair = nn.ModuleDict({"a": seeded(lambda: nn.LSTM(3, 4)), "b": seeded(lambda: nn.GRU(3, 4))})

    def save_pair(path: Path) -> None:
        save_file(pair.state_dict(), path)

    x = numbers(5, 2, 3)
    yield Sample(
        "safetensors/beside_a_gru.safetensors",
        PROGRAM,
        save_pair,
        x.numpy(),
        result(pair["a"], x),
        True,
    )
