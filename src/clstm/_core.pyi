from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[Any]

version: str

def default_threads() -> int: ...
def parameter_table(
    input_size: int, hidden_size: int, num_layers: int, output_size: int | None, bias: bool
) -> tuple[list[tuple[str, tuple[int, ...], int]], int]: ...
def isas() -> list[str]: ...
def isa() -> str: ...
def has_openmp() -> bool: ...
def load_blas() -> int: ...
def forward_needs_blas() -> bool: ...
def tanh(x: _Array) -> _Array: ...
def sigmoid(x: _Array) -> _Array: ...

@final
class Model:
    dtype: np.dtype[Any]
    input_size: int
    hidden_size: int
    num_layers: int
    output_size: int
    elements: int
    def __new__(
        cls,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        output_size: int | None,
        bias: bool,
        flat: _Array,
    ) -> Self: ...
    def begin_edit(self) -> None: ...
    def end_edit(self, flat: _Array | None) -> None: ...
    @property
    def flat(self) -> _Array: ...
    def forward(
        self,
        x: _Array,
        h0: _Array | None,
        c0: _Array | None,
        y: _Array | None,
        threads: int,
    ) -> tuple[_Array, _Array, _Array]: ...
    def record(
        self, x: _Array, h0: _Array | None, c0: _Array | None, threads: int
    ) -> tuple[Recording, tuple[_Array, _Array, _Array]]: ...

@final
class Recording:
    def read(self, field: int, layer: int, out: _Array) -> None: ...
    def backward(
        self,
        dy: _Array | None,
        dh: _Array | None,
        dc: _Array | None,
        shape: tuple[int, int],
        threads: int,
    ) -> tuple[_Array, _Array, _Array, _Array]: ...
