"""The command line, ``python -m clstm``: configuration, C programs, and files of any format."""

import argparse
import importlib
import inspect
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .info import compiler_arguments, get_cmake_dir, show_config
from .layers import Skip
from .load import recognise
from .model import Model
from .sequential import Sequential

CONFIG = """\
Prints the arguments that compile and link a C or C++ program with clstm, on one line:

    cc program.c $(python -m clstm config --cflags --libs)
    cmake -Dclstm_DIR="$(python -m clstm config --cmakedir)" ...

Paths with spaces are quoted for the shell; eval removes the quotes:

    eval "cc program.c $(python -m clstm config --cflags --libs)"
"""

SUFFIXES = {
    ".safetensors": "safetensors",
    ".onnx": "onnx",
    ".keras": "keras",
    ".weights.h5": "keras",
    ".pt": "torch",
    ".pth": "torch",
    ".npz": "npz",
    ".nam": "nam",
    ".aidax": "rtneural",
}
JSON = ("rtneural", "guitarml")


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m clstm", description="Without a command, prints the configuration in use."
    )
    commands = parser.add_subparsers(dest="command")
    config = _add_config(commands)
    _add_models(commands)
    arguments = parser.parse_args()
    if arguments.command is None:
        show_config()
        return 0
    if arguments.command == "config":
        return _config(config, arguments)
    try:
        lines = list((_convert if arguments.command == "convert" else _inspect)(arguments))
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        print("clstm:", " ".join(str(error).split()), file=sys.stderr)
        return 1
    print(*lines, sep="\n")
    return 0


# ---- C programs ----


def _add_config(commands: Any) -> Any:
    config = commands.add_parser(
        "config",
        help="print compiler and linker arguments for C programs",
        description=CONFIG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    config.add_argument("--cflags", action="store_true", help="compiler arguments for clstm.h")
    config.add_argument("--libs", action="store_true", help="linker arguments for libclstm.a")
    config.add_argument(
        "--cmakedir", action="store_true", help="the folder of clstmConfig.cmake, unquoted"
    )
    return config


def _config(parser: Any, arguments: argparse.Namespace) -> int:
    fields = [f for f, wanted in (("Cflags", arguments.cflags), ("Libs", arguments.libs)) if wanted]
    if not fields and not arguments.cmakedir:
        parser.error("expected --cflags, --libs or --cmakedir")
    flags = [shlex.join(compiler_arguments(*fields))] if fields else []
    print(*flags, *([get_cmake_dir()] if arguments.cmakedir else []))
    return 0


# ---- Models ----


def _add_models(commands: Any) -> None:
    known = ", ".join(SUFFIXES)
    convert = commands.add_parser(
        "convert",
        help="write a model in another format",
        description="Writes a model in another format. The input's content decides its format.",
    )
    show = commands.add_parser(
        "inspect", help="print the content of a file", description="Prints the content of a file."
    )
    for parser in (convert, show):
        parser.add_argument("file", metavar="IN" if parser is convert else "FILE")
        parser.add_argument("--prefix", help="prefix of the LSTM's names (PyTorch, safetensors)")
        parser.add_argument("--head", help="prefix of the readout's names (PyTorch, safetensors)")
        parser.add_argument("--key", help="place of the state dict in a checkpoint (PyTorch)")
        parser.add_argument("--node", help="name or number of an LSTM node (ONNX)")
        parser.add_argument(
            "--architecture", metavar="JSON", help="file with Keras's to_json() (.weights.h5)"
        )
    convert.add_argument("out", metavar="OUT", help=f"its suffix is the format: {known}, .json")
    convert.add_argument("--format", choices=JSON, help="format of a .json file")
    convert.add_argument(
        "--activations",
        choices=("accurate", "fast"),
        help="how exact sigmoid and tanh are, in .safetensors; by default as in the input",
    )
    convert.add_argument(
        "--sample-rate",
        type=float,
        metavar="HZ",
        help="of the sound, in .nam; by default the input's",
    )
    convert.add_argument(
        "--torch-names",
        action="store_true",
        help="write biases as PyTorch's pairs, in .safetensors and RTNeural's .json",
    )


def _convert(arguments: argparse.Namespace) -> Iterator[str]:
    out = arguments.out
    suffix = next((suffix for suffix in SUFFIXES if out.endswith(suffix)), None)
    if out.endswith(".json"):
        if arguments.format is None:
            raise ValueError(f"{out}: a .json file needs --format {' or '.join(JSON)}")
        module = arguments.format
    elif arguments.format is not None:
        raise ValueError(f"{out}: --format is for .json files")
    elif suffix is None:
        raise ValueError(f"{out}: the suffix must be one of {', '.join(SUFFIXES)}, .json")
    else:
        module = SUFFIXES[suffix]
    model = _load(arguments)
    if arguments.activations is not None:
        model = model.with_activations(arguments.activations)
    save = importlib.import_module(f"clstm.interop.{module}").save
    taken = inspect.signature(save).parameters
    options = {"torch_names": arguments.torch_names, "sample_rate": arguments.sample_rate}
    for name, value in options.items():
        if value and name not in taken:
            raise ValueError(f"{out}: this format has no --{name.replace('_', '-')}")
    save(model, out, **{name: value for name, value in options.items() if name in taken})
    yield f"{out}: {' '.join(repr(model).split())}"


def _options(arguments: argparse.Namespace, load: Any, name: str) -> dict[str, Any]:
    """Return the given options; raise ValueError for one that the format does not have."""
    names = ("prefix", "head", "key", "node", "architecture")
    given = {name: getattr(arguments, name) for name in names}
    options = {name: value for name, value in given.items() if value is not None}
    for option in options:
        if option not in inspect.signature(load).parameters:
            raise ValueError(f"{arguments.file}: {name} has no --{option}")
    if "node" in options and options["node"].isdecimal():
        options["node"] = int(options["node"])
    if "architecture" in options:
        options["architecture"] = Path(options["architecture"]).read_text("utf-8")
    return options


def _load(arguments: argparse.Namespace) -> Model | Sequential:
    kind = recognise(arguments.file)
    load = kind.reader().load
    model: Model | Sequential = load(arguments.file, **_options(arguments, load, kind.name))
    return model


def _inspect(arguments: argparse.Namespace) -> Iterator[str]:
    kind = recognise(arguments.file)
    yield f"format      {kind.name}"
    try:
        model = _load(arguments)
    except ValueError as error:
        read = getattr(kind.reader(), "read", None)
        if read is None:
            raise
        given = _options(arguments, kind.reader().load, kind.name)
        taken = inspect.signature(read).parameters
        # Raises if the file is malformed.
        layers = read(arguments.file, **{n: v for n, v in given.items() if n in taken})
        yield f"note        {error}"
        for name, layer in layers.items() if isinstance(layers, dict) else enumerate(layers):
            yield f"\n{name!r}:"
            yield from _describe(layer)
    else:
        yield from _describe(model)
        for name, value in model.notes.items():
            yield f"note        {name}: {value!r:.200}"


def _describe(layer: Any, indent: str = "") -> Iterator[str]:
    """Yield lines about a model, a layer or an ONNX node."""
    lstm = getattr(layer, "lstm", layer)
    if layer is not lstm:
        yield f"node        {layer.name}"
    if isinstance(lstm, (Sequential, Skip)):
        count = f", count={lstm.count}" if isinstance(lstm, Skip) else ""
        yield f"{indent}{type(lstm).__name__} of {len(lstm.layers)} layers{count}"
        for k, inner in enumerate(lstm.layers):
            yield f"{indent}layer {k}"
            yield from _describe(inner, indent + "    ")
        return
    yield f"{indent}{'model       ' if isinstance(lstm, Model) else ''}{lstm!r}"
    if not lstm.parameters:
        return
    arrays = lstm.parameters.values()
    size, dtype = sum(array.size for array in arrays), next(iter(arrays)).dtype
    yield f"{indent}parameters  {size} {dtype}"
    for name, array in lstm.parameters.items():
        span = f"{array.min():.4g} to {array.max():.4g}"
        yield f"{indent}    {name:24} {array.shape!s:14} {span}"
    for note in _notes(lstm) if isinstance(lstm, Model) else ():
        yield f"{indent}note        {note}"


def _notes(lstm: Model) -> Iterator[str]:
    if not np.isfinite(lstm.parameters.flat).all():
        yield "some parameters are not finite"
    if lstm.direction == "reverse" or lstm.bidirectional:
        yield "it has a reverse direction and cannot be a stream"
    if lstm.learn_state:
        yield "calls without a state start from its parameters h0 and c0"
    try:
        lstm._config.check_gradients("training")
    except ValueError as error:
        yield str(error)
