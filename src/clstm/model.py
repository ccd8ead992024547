"""What a model is and holds: its configuration and parameters, in memory and in files."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from . import _core
from .cell import Cell
from .configuration import Configuration
from .layout import Array
from .parameters import Parameters
from .state_dict import read_file, read_state_dict, write_file, write_state_dict


class Model:
    """What `LSTM` is without its calls."""

    __slots__ = ("__weakref__", "_config", "_model", "_table")

    def _build(self, config: Configuration, flat: Array) -> None:
        self._config = config
        self._table = config.parameter_table()[0]
        self._model = _core.Model(config, flat)

    @classmethod
    def _restore(cls, config: Configuration, flat: Array) -> Self:
        """Make a model from its configuration and parameters; draws no initial weights."""
        self = cls.__new__(cls)
        self._build(config, flat)
        return self

    @classmethod
    def from_state(cls, config: Configuration, state_dict: Mapping[str, Any]) -> Self:
        """Make a model from its configuration and what `state_dict` returns; for `clstm.interop`.

        Raises KeyError, ValueError or TypeError for what does not fit.
        """
        table, size = config.parameter_table()
        parameters = Parameters(table, np.empty(size, config.dtype))
        read_state_dict(parameters, state_dict, "")
        return cls._restore(config, parameters.flat)

    # ---- What it is ----

    @property
    def input_size(self) -> int:
        """Features I of x_t."""
        return self._config.input_size

    @property
    def hidden_size(self) -> int:
        """Units H of every layer."""
        return self._config.hidden_size

    @property
    def num_layers(self) -> int:
        """Layers L."""
        return self._config.num_layers

    @property
    def output_size(self) -> int | None:
        """Features O of the readout, or None."""
        return self._config.output_size

    @property
    def bidirectional(self) -> bool:
        """Whether every layer has both directions, D = 2."""
        return self._config.bidirectional

    @property
    def direction(self) -> str:
        """Which way the one direction goes, "forward" or "reverse"."""
        return self._config.direction

    @property
    def proj_size(self) -> int:
        """Elements R of h where it is projected; 0 without a projection, and then R is H."""
        return self._config.proj_size

    @property
    def bias(self) -> bool:
        """Whether gates and readout have a bias."""
        return self._config.bias

    @property
    def batch_first(self) -> bool:
        """Whether sequences are (B, T, .)."""
        return self._config.batch_first

    @property
    def learn_state(self) -> bool:
        """Whether the initial state is a parameter."""
        return self._config.learn_state

    @property
    def cell(self) -> Cell:
        """Which variant of the cell it computes."""
        return self._config.cell

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of parameters, results and all arithmetic."""
        return self._config.dtype

    @property
    def parameters(self) -> Parameters:
        """The parameters: a read-only mapping from name to view, and ``.flat``. See `edit`."""
        return Parameters(self._table, self._model.flat)

    def __repr__(self) -> str:
        return f"LSTM({self._config!r})"

    # ---- Its parameters ----

    @contextmanager
    def edit(self) -> Iterator[Parameters]:
        """Write parameters: ``with lstm.edit() as p: p["bias_l0"][:] = 0``.

        Yields a working copy, which becomes the model's when the block ends. An exception leaves
        the model as it was.

        Raises
        ------
        RuntimeError
            If a call is using the model, or another `edit` is open. Calls inside the block raise it
            too.
        """
        self._model.begin_edit()
        flat = None
        try:
            working = Parameters(self._table, self._model.flat.copy())
            yield working
            flat = working.flat
            working.freeze()
        finally:
            self._model.end_edit(flat)

    def state_dict(self, *, torch_names: bool = False) -> dict[str, Array]:
        """Return copies of all parameters by name.

        Parameters
        ----------
        torch_names : bool
            Write each ``bias_l{k}`` as PyTorch's pair ``bias_ih_l{k}``, ``bias_hh_l{k}``, the
            second zero; ``bias_l{k}_reverse`` likewise.
        """
        return write_state_dict(self.parameters, torch_names)

    def load_state_dict(self, state_dict: Mapping[str, Any], *, prefix: str = "") -> None:
        """Replace all parameters.

        Parameters
        ----------
        state_dict : mapping from name to array
            As `state_dict` returns it, in either form, or PyTorch's own.
        prefix : str
            Take only names that begin with this, as in the state dict of a larger model:
            ``"encoder.lstm."``.

        Raises
        ------
        KeyError
            If a name is missing, or there is one that the model does not have.
        ValueError, TypeError
            If a shape or dtype does not fit. In every case the model stays as it was.
        """
        with self.edit() as parameters:
            read_state_dict(parameters, state_dict, prefix)

    # ---- Files and copies ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file: parameters by name, configuration in the metadata."""
        write_file(path, self.parameters, self._config.to_metadata())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Raises
        ------
        ValueError
            If the file is truncated, of another origin, or contradicts itself; it is named.
        OSError
            If it cannot be read.
        """
        metadata, tensors = read_file(path)
        try:
            return cls.from_state(Configuration.from_metadata(metadata), tensors)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)} holds no valid model: {error.args[0]}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._restore, (self._config, self.parameters.flat.copy())
