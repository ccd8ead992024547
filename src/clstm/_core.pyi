from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

version: str

def get_num_threads() -> int: ...
def set_num_threads(num_threads: int) -> None: ...
def parameter_table(
    input_size: int, hidden_size: int, num_layers: int, output_size: int | None, bias: bool
) -> tuple[list[tuple[str, tuple[int, ...], int]], int]: ...
def isas() -> list[str]: ...
def isa() -> str: ...
def has_openmp() -> bool: ...
def load_blas() -> int: ...
def as_real(value: object, name: str, dtype: DTypeLike) -> Array: ...
def check_out(
    out: object,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    inputs: Mapping[str, tuple[Array | None, ...]],
) -> None: ...
def tanh(x: Array) -> Array: ...
def sigmoid(x: Array) -> Array: ...

@final
class Model:
    dtype: np.dtype[Any]
    input_size: int
    hidden_size: int
    num_layers: int
    output_size: int
    elements: int
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        output_size: int | None,
        bias: bool,
        flat: Array,
    ) -> None: ...
    def begin_edit(self) -> None: ...
    def end_edit(self, flat: Array | None) -> None: ...
    @property
    def flat(self) -> Array: ...
    def forward(
        self,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        y: Array | None,
        num_threads: int | None,
    ) -> tuple[Array, Array, Array]: ...
    def record(
        self, x: Array, h0: Array | None, c0: Array | None, num_threads: int | None
    ) -> tuple[Recording, tuple[Array, Array, Array]]: ...

@final
class Recording:
    def read(self, field: int, layer: int, out: Array) -> None: ...
    def backward(
        self,
        dy: Array | None,
        dh: Array | None,
        dc: Array | None,
        shape: tuple[int, int],
        num_threads: int | None,
    ) -> tuple[Array, Array, Array, Array]: ...
