"""The base class of `LSTM`: configuration and parameters, in memory and in files."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Self

import numpy as np

from . import _core
from .cell import Cell
from .configuration import Configuration
from .layout import Array
from .options import real_number
from .parameters import Parameters, Table
from .state_dict import (
    check_sizes,
    read_file,
    read_state_dict,
    write_file,
    write_state_dict,
)


class Trainable:
    """Named parameters in a store of the core, which `edit` and optimisers change."""

    __slots__ = ("__weakref__", "_model", "_table", "notes")

    _model: _core.Store
    _table: Table
    notes: dict[str, Any]
    """What a file says about the model beside its computation; `save` and pickle keep it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """dtype of the parameters, the results and all arithmetic."""
        return self._model.flat.dtype

    @property
    def parameters(self) -> Parameters:
        """Read-only views of the parameters by name, and ``.flat``. See `edit` for writing."""
        return Parameters(self._table, self._model.flat)

    def edit(self, timeout: float | None = None) -> AbstractContextManager[Parameters]:
        """Edit the parameters: ``with lstm.edit() as p: p["bias_l0"][:] = 0``.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait until running calls and another `edit` have ended; inf waits for ever.
            Calls that begin meanwhile raise RuntimeError, as inside the block, so that the wait
            lasts no longer than the running ones. By default, or with 0, `edit` does not wait.

        Returns
        -------
        context manager
            Its block has `Parameters`: a writable copy, which replaces the model's parameters when
            the block ends. An exception in the block leaves the model unchanged.

        Raises
        ------
        RuntimeError
            By the block's beginning, if a call is using the model or another `edit` is open, after
            `timeout` seconds; or if the weights are torn, because another thread was writing them
            when this process was forked. Calls inside the block raise it as well.
        ValueError, TypeError
            If `timeout` is negative or NaN, or not a real number.
        """
        seconds = 0.0 if timeout is None else real_number("timeout", timeout)
        if not seconds >= 0:
            raise ValueError(f"timeout must be at least 0 seconds, got {timeout}")
        working = Parameters(self._table, np.empty(self._model.elements, self.dtype))
        return _core.Edit(self._model, working, seconds)

    def _snapshot(self) -> Parameters:
        """Return a copy of all parameters as they were at one moment; other threads may train."""
        return Parameters(self._table, self._model.snapshot())


class Model(Trainable):
    """An `LSTM` without its calls: configuration, parameters and files."""

    __slots__ = ("_config",)

    _model: _core.Model

    def _build(self, config: Configuration, flat: Array, whole: _core.Group | None = None) -> None:
        self.notes = {}
        self._config = config
        self._table = config.parameter_table()[0]
        self._model = _core.Model(config, flat, whole)

    @classmethod
    def _restore(
        cls,
        config: Configuration,
        flat: Array,
        notes: Mapping[str, Any] | None = None,
        whole: _core.Group | None = None,
    ) -> Self:
        """Make a model from its configuration and parameters, without drawing weights.

        If `flat` is a part of a whole, the model uses it without a copy.
        """
        self = cls.__new__(cls)
        self._build(config, flat, whole)
        self.notes.update(notes or {})
        return self

    @classmethod
    def from_state(cls, config: Configuration, state_dict: Mapping[str, Any]) -> Self:
        """Make a model from its configuration and a state dict; for `clstm.interop`.

        Raises KeyError, ValueError or TypeError if the state dict does not fit the configuration.
        """
        if config.num_parts > len(state_dict):  # the table would have rows for each of them
            raise ValueError(
                f"num_layers={config.num_layers} needs an array for each layer and direction at "
                f"least, there are {len(state_dict)}"
            )
        table, size = config.parameter_table()
        check_sizes(table, state_dict)
        parameters = Parameters(table, np.empty(size, config.dtype))
        read_state_dict(parameters, state_dict)
        return cls._restore(config, parameters.flat)

    # ---- Configuration ----

    @property
    def input_size(self) -> int:
        """Number of features I of x_t."""
        return self._config.input_size

    @property
    def hidden_size(self) -> int:
        """Number of units H of each layer and direction."""
        return self._config.hidden_size

    @property
    def num_layers(self) -> int:
        """Number of layers L."""
        return self._config.num_layers

    @property
    def output_size(self) -> int | None:
        """Number of features O of the readout, or None without a readout."""
        return self._config.output_size

    @property
    def bidirectional(self) -> bool:
        """Whether each layer has both directions (D = 2)."""
        return self._config.bidirectional

    @property
    def direction(self) -> str:
        """Direction of a unidirectional model, "forward" or "reverse"."""
        return self._config.direction

    @property
    def proj_size(self) -> int:
        """Number of elements R of the projected h; 0 without a projection (R is then H)."""
        return self._config.proj_size

    @property
    def bias(self) -> bool:
        """Whether the gates and the readout have a bias."""
        return self._config.bias

    @property
    def batch_first(self) -> bool:
        """Whether sequences have shape (B, T, .)."""
        return self._config.batch_first

    @property
    def learn_state(self) -> bool:
        """Whether the initial state is a parameter."""
        return self._config.learn_state

    @property
    def cell(self) -> Cell:
        """Variant of the cell."""
        return self._config.cell

    @property
    def activations(self) -> str:
        """How exact sigmoid and tanh are: "accurate" or "fast"."""
        return self._config.activations

    def with_activations(self, activations: str) -> Self:
        """Return a copy of the model with accurate or fast activations.

        Parameters
        ----------
        activations : {"accurate", "fast"}
            Accurate ones err by at most 5 units in the last place, fast ones by 1e-5; the errors of
            a model's output depend on its weights. Fast ones have no gradient.

        Raises
        ------
        ValueError
            If `activations` is "fast" and the model is float64 or its cell is not the plain one.

        Examples
        --------
        >>> import clstm
        >>> lstm = clstm.LSTM(1, 16, output_size=1, rng=0)
        >>> lstm.with_activations("fast")
        LSTM(input_size=1, hidden_size=16, output_size=1, activations='fast')
        """
        config = replace(self._config, activations=activations)
        return self._restore(config, self._snapshot().flat, self.notes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """dtype of the parameters, the results and all arithmetic."""
        return self._config.dtype

    def __repr__(self) -> str:
        return f"LSTM({self._config!r})"

    # ---- Parameters ----

    def state_dict(self, *, torch_names: bool = False) -> dict[str, Array]:
        """Return copies of all parameters by name.

        Parameters
        ----------
        torch_names : bool, default=False
            Whether to return each ``bias_l{k}`` as PyTorch's pair ``bias_ih_l{k}`` and
            ``bias_hh_l{k}``, the second one zero; likewise ``bias_l{k}_reverse``.

        Returns
        -------
        dict of str to ndarray
            Arrays in the model's dtype, in the shapes that `Parameters` lists; all from before or
            all from after a step of an optimiser in another thread.
        """
        return write_state_dict(self._snapshot(), torch_names)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], *, prefix: str = "", head: str | None = None
    ) -> None:
        """Replace all parameters.

        Parameters
        ----------
        state_dict : mapping from name to array
            A result of `state_dict`, in either form, or a state dict of PyTorch's LSTM or
            LSTMCell, of arrays or of tensors.
        prefix : str, default=""
            Prefix of the model's names in the state dict of a larger model, for example
            ``"encoder.lstm."``. Other names are ignored. What all names have in common, such as
            ``"module."``, may be left out.
        head : str, optional
            Prefix of a linear layer that is the readout, for example ``"decoder."`` for
            ``decoder.weight`` and ``decoder.bias``. If only one of the LSTM and the layer has a
            bias, the other gets zeros.

        Raises
        ------
        KeyError
            If a name is missing or unknown.
        ValueError, TypeError
            If a shape or dtype does not fit, or the head is no linear layer.
        RuntimeError
            If a call is using the model or `edit` is open. The model stays unchanged in all these
            cases. Torn weights, which `edit` refuses, are replaced.
        """
        parameters = Parameters(self._table, np.empty(self._model.elements, self._config.dtype))
        read_state_dict(parameters, state_dict, prefix, head)
        self._model.replace(parameters.flat)

    # ---- Files and copies ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file: parameters by name; configuration and notes as metadata.

        Raises
        ------
        ValueError
            If a note is not a JSON value. Nothing is written then.
        OSError
            If the file cannot be written.
        """
        write_file(path, self._snapshot(), self._config.to_metadata(), self.notes)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Load a model from a file written by `save`.

        Raises
        ------
        ValueError
            If the file is truncated, inconsistent, or not written by `save`. The message names the
            file.
        OSError
            If the file cannot be read.
        """
        from .interop.errors import shortened  # late: most programs read no file

        metadata, tensors, notes = read_file(path)
        try:
            model = cls.from_state(Configuration.from_metadata(metadata), tensors)
            model.notes.update(notes)
            return model
        except (KeyError, TypeError, ValueError) as error:
            reason = shortened(str(error.args[0]))
            raise ValueError(f"{os.fspath(path)} holds no valid model: {reason}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._restore, (self._config, self._model.snapshot(), self.notes)
