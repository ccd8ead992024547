"""Every option with every writer: kept, or refused by its name; never silently dropped."""

import importlib
import pkgutil
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated

import numpy as np
import pytest
from safetensors import safe_open

import clstm
from clstm import Cell, interop
from clstm.cli import JSON, SUFFIXES
from clstm.configuration import Configuration
from clstm.interop import keras, rtneural, safetensors, torch
from clstm.options import Flag
from tests.interop.files import CHANGED, draw_model

FORMATS = {*JSON, *SUFFIXES.values()}
SAVE = {name: importlib.import_module(f"clstm.interop.{name}").save for name in sorted(FORMATS)}
KEEP_ALL = {
    "safetensors": safetensors.save,
    "safetensors, our names": partial(safetensors.save, torch_names=False),
    "LSTM.save": clstm.LSTM.save,
}
WRITERS = SAVE | {
    "rtneural, PyTorch's names": partial(rtneural.save, torch_names=True),
    "to_keras": lambda model, _: keras.to_keras(model),
    "to_torch": lambda model, _: torch.to_torch(model),
    **KEEP_ALL,
}
every_writer = pytest.mark.parametrize("name", WRITERS)


def name_of(options):
    return ",".join(f"{name}={value}" for name, value in options.items())


@pytest.fixture
def write(name, tmp_path):
    """Return what writes a model with the writer of this name and returns the file's path."""

    def write(model):
        path = tmp_path / ("model.keras" if name == "keras" else "model")
        try:
            WRITERS[name](model, path)
        except ImportError as error:
            pytest.skip(str(error))
        except ValueError:
            assert not path.exists()
            raise
        return path

    return write


def y_of(model):
    """What a model computes, steps first."""
    x = np.random.default_rng(1).standard_normal((4, 3, 2)).astype(np.float32)
    y = model(x.swapaxes(0, 1) if model.batch_first else x)[0]
    return y.swapaxes(0, 1) if model.batch_first else y


def test_every_format_with_a_writer_is_tested():
    names = {module.name for module in pkgutil.iter_modules(interop.__path__)}
    modules = {name: importlib.import_module(f"clstm.interop.{name}") for name in names}
    assert {name for name, module in modules.items() if hasattr(module, "save")} == FORMATS


def test_every_option_is_tested():
    names = {name for options in CHANGED for name in options}
    required = {"input_size", "hidden_size"}
    assert names | required == {field.name for field in fields(Configuration)}
    cells, plain = [options["cell"] for options in CHANGED if "cell" in options], Cell()
    names = [field.name for field in fields(Cell)]
    assert [n for cell in cells for n in names if getattr(cell, n) != getattr(plain, n)] == names


@every_writer
@pytest.mark.parametrize("options", CHANGED, ids=name_of)
def test_an_option_is_kept_or_refused(name, options, write):
    model = draw_model(**{"num_layers": 1} | options)
    try:
        path = write(model)
    except ValueError as error:
        assert name not in KEEP_ALL
        [option] = options
        assert option in str(error)
        return
    if not path.exists():
        return  # it became a live model of another library
    try:
        read = clstm.load(path)
    except ImportError as error:
        pytest.skip(str(error))
    np.testing.assert_allclose(y_of(read), y_of(model), rtol=1e-4, atol=1e-5)


# ---- Options of a later version ----


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterConfiguration(Configuration):
    """As if a line had been added to `Configuration`."""

    doubled: Annotated[bool, Flag(later=True)] = False


@dataclass(frozen=True, slots=True, init=False)
class LaterCell(Cell):
    """As if a line had been added to `Cell`."""

    doubled: Annotated[bool, Flag(later=True)]

    def __init__(self, doubled=False):
        for field in fields(Cell):
            object.__setattr__(self, field.name, getattr(Cell(), field.name))
        object.__setattr__(self, "doubled", doubled)


def later_model(**options):
    """A model whose configuration has fields that no writer knows."""
    model = draw_model(num_layers=1)
    sizes = {"input_size": 2, "hidden_size": 3, "output_size": 2}
    model._config = LaterConfiguration(**sizes, **options)
    return model


@pytest.mark.parametrize("name", sorted(WRITERS.keys() - KEEP_ALL.keys()))
@pytest.mark.parametrize("options", [{"doubled": True}, {"cell": LaterCell(True)}])
def test_an_unknown_option_is_refused(name, options, write):
    with pytest.raises(ValueError, match=r"has no .*doubled=True"):
        write(later_model(**options))


@every_writer
def test_an_unknown_option_at_its_default_is_not(name, write):
    write(later_model())


@pytest.mark.parametrize("name", KEEP_ALL)
def test_a_file_with_an_unknown_option_holds_it_and_is_refused(name, write):
    path = write(later_model(doubled=True))
    with safe_open(path, "numpy") as file:
        assert file.metadata()["clstm.doubled"] == "True"
    with pytest.raises(ValueError, match=r"clstm\.doubled is unknown to this"):
        clstm.LSTM.load(path)
