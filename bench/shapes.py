"""The shapes that the benchmarks measure, and what each shape costs.

A shape is (T, B, I, H, L): sequence length, batch, input size, hidden size, layers.

- GRID runs from one step of one sequence (a live stream) over B = 1 sequences (bandwidth decides)
  to large batches (arithmetic decides), and includes MNIST's images read row by row.
- ODD fits no register tile: H no multiple of 16, B of 2, 3, 5, 7 and 40, long sequences, layers.
- SMALL is an audio model, one sample in and H units: the time of a step decides.
- STEPS is trained as a whole: from images read row by row to a model of some hundred units, and one
  so small that everything around the LSTM counts.
"""

import os
from typing import NamedTuple

MODES = ("forward", "training", "step")
CLASSES = 10  # of the readout that a "step" has


class Part(NamedTuple):
    """A repeated product: `repeats` times `flop` operations on `weight_bytes` of weights."""

    flop: int
    weight_bytes: int
    repeats: int


class Shape(NamedTuple):
    """Sizes of one case; float32 throughout; only a "step" has a readout."""

    steps: int
    batch: int
    input_size: int
    hidden_size: int
    num_layers: int

    def __str__(self) -> str:
        return ",".join(map(str, tuple(self)))

    @property
    def label(self) -> str:
        """A name that pytest's -k can pick, "T100-B1-I256-H256-L1"."""
        return "-".join(f"{letter}{size}" for letter, size in zip("TBIHL", self, strict=True))

    @property
    def layer_inputs(self) -> tuple[int, ...]:
        """Input size of every layer: a deeper one reads the hidden state of the one before."""
        return (self.input_size,) + (self.hidden_size,) * (self.num_layers - 1)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weight matrices of the model."""
        return sum(16 * self.hidden_size * (size + self.hidden_size) for size in self.layer_inputs)

    def flop(self, mode: str) -> int:
        """Operations of the matrix products, a multiply-add counted as two.

        Forward is 8 T B (I + H) H a layer. Backward does every product twice, once for the gradient
        of its data and once for that of its weights, so training costs three times forward. A
        "step" adds the readout's products; x's gradient counts, though clstm alone hands it out.
        Gates, loss and optimiser are not counted.
        """
        return sum(part.flop * part.repeats for part in self.parts(mode))

    def intensity(self, mode: str) -> float:
        """Operations for every byte of weights read, where a roofline puts this shape."""
        parts = self.parts(mode)
        return self.flop(mode) / sum(part.weight_bytes * part.repeats for part in parts)

    def parts(self, mode: str) -> list[Part]:
        """The products of a mode, each as large as the recurrence allows.

        The input product has no dependency over time: one product covers all steps and reads its
        weights once. The recurrent one must read its weights again at every step. Weight gradients
        are one product each.
        """
        steps, batch, _, hidden, _ = self
        rows = steps * batch
        parts = []
        for size in self.layer_inputs:
            over_time = Part(8 * rows * size * hidden, 16 * size * hidden, 1)
            per_step = Part(8 * batch * hidden * hidden, 16 * hidden * hidden, steps)
            parts += [over_time, per_step]
            if mode != "forward":
                recurrent_weights = Part(8 * rows * hidden * hidden, 16 * hidden * hidden, 1)
                parts += [over_time, per_step, over_time, recurrent_weights]
        if mode == "step":
            parts += 3 * [Part(2 * rows * hidden * CLASSES, 4 * hidden * CLASSES, 1)]
        return parts


def _shapes(*sizes: tuple[int, int, int, int, int]) -> tuple[Shape, ...]:
    return tuple(Shape(*numbers) for numbers in sizes)


GRID = _shapes(
    (1, 1, 1, 40, 1),
    (1, 1, 128, 128, 1),
    (1, 1, 512, 512, 1),
    (100, 1, 1, 40, 1),
    (100, 1, 64, 64, 1),
    (100, 1, 128, 128, 1),
    (100, 1, 256, 256, 1),
    (100, 1, 512, 512, 1),
    (100, 1, 1024, 1024, 1),
    (100, 4, 256, 256, 1),
    (100, 16, 256, 256, 1),
    (100, 32, 128, 128, 1),
    (100, 32, 512, 512, 1),
    (50, 128, 512, 512, 1),
    (28, 64, 28, 128, 1),
    (100, 1, 256, 256, 4),
    (100, 32, 256, 256, 4),
)

ODD = _shapes(
    (100, 1, 33, 33, 1),
    (2000, 1, 24, 24, 1),
    (1000, 1, 1, 20, 1),
    (100, 2, 100, 100, 1),
    (50, 3, 72, 72, 1),
    (50, 5, 200, 200, 2),
    (100, 7, 384, 384, 1),
    (30, 40, 96, 300, 1),
    (100, 1, 128, 128, 2),
    (200, 1, 64, 64, 3),
    (60, 40, 40, 40, 3),
    (100, 2, 256, 256, 2),
)

SMALL = tuple(Shape(2000, 1, 1, hidden, 1) for hidden in (8, 16, 24, 32, 40, 48, 64, 80, 96))

STEPS = _shapes(
    (28, 64, 28, 128, 1),
    (100, 32, 64, 256, 2),
    (50, 128, 128, 512, 1),
    (8, 64, 8, 64, 1),
)


def usable_cpus() -> int:
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


THREADS = tuple(count for count in (1, 2) if count <= usable_cpus())


def parse_shape(text: str) -> Shape:
    """Read "T,B,I,H,L"; ValueError says what was expected."""
    try:
        shape = Shape(*(int(size) for size in text.split(",")))
    except (TypeError, ValueError):
        raise ValueError(f"expected a shape as T,B,I,H,L, got {text!r}") from None
    if min(shape) < 1:
        raise ValueError(f"expected positive sizes, got {text!r}")
    return shape
