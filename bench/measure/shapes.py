"""The shapes that the benchmarks measure, and the cost of each.

A shape is (T, B, I, H, L): sequence length, batch, input size, hidden size, layers; and its
options: two directions, a projection to `proj_size`, lengths of the rows, a cell.

- GRID runs from one step of one sequence (a live stream) over B = 1 sequences (bandwidth-bound) to
  large batches (compute-bound), and includes MNIST's images read row by row.
- ODD fits no register tile: H no multiple of 16, B of 2, 3, 5, 7 and 40, long sequences, layers.
- SMALL are audio models, one sample in and H units: latency-bound.
- STEPS are whole training steps: of images read row by row, of models of some hundred units, and of
  a model so small that the work outside the LSTM shows.
- BIDIRECTIONAL have two directions, PROJECTED a projection of the hidden state.
- RAGGED goes from T = 10 to 2000, with lengths spread evenly over 1 to T. HALF_FULL and FEW_ROWS
  have a mean length of half of T, in several distributions.
- OTHER_CELLS are batches of 16 rows and more, each with every cell of cells.py.
- FEW are models of SMALL with some rows: the channels of a signal.
- STREAMS are the models of SMALL as live streams of some blocks, of some rows or layers.
"""

from typing import NamedTuple

import numpy as np

from bench.measure.cells import CELLS
from bench.measure.cpus import usable_cpus
from bench.measure.lengths import LENGTHS, active_rows

MODES = ("forward", "training", "step")
CLASSES = 10  # outputs of the readout that a "step" has
STREAM_BLOCK = 512  # samples per call of a stream
WORDS: dict[str, dict] = {"bidirectional": {"directions": 2}}
WORDS |= {name: {"lengths": name} for name in LENGTHS if name}
WORDS |= {name: {"cell": name} for name in CELLS if name}
SHAPE_FORM = f"T,B,I,H,L[,projection128][,{'|'.join(WORDS)}]..."


class Part(NamedTuple):
    """A repeated product: `repeats` times `flop` operations on `weight_bytes` of weights."""

    flop: int
    weight_bytes: int
    repeats: int


class Shape(NamedTuple):
    """Sizes of one case; float32 throughout; only a "step" has a readout.

    `lengths` is the name of a distribution, one of LENGTHS, or empty: every row has T steps. `cell`
    is one of CELLS, or empty: the plain one.
    """

    steps: int
    batch: int
    input_size: int
    hidden_size: int
    num_layers: int
    directions: int = 1
    proj_size: int = 0
    lengths: str = ""
    cell: str = ""

    def __str__(self) -> str:
        return ",".join([*map(str, self.sizes), *self._words])

    @property
    def label(self) -> str:
        """A name that pytest's -k can pick, "T100-B1-I256-H256-L1" or "...-L1-bidirectional"."""
        sizes = (f"{letter}{size}" for letter, size in zip("TBIHL", self.sizes, strict=True))
        return "-".join([*sizes, *self._words])

    @property
    def sizes(self) -> tuple[int, ...]:
        """(T, B, I, H, L)."""
        return tuple(self)[:5]

    @property
    def _words(self) -> list[str]:
        """The options, in the words that `parse_shape` reads."""
        words = ["bidirectional"] if self.directions == 2 else []
        words += [f"projection{self.proj_size}"] if self.proj_size else []
        return words + [name for name in (self.lengths, self.cell) if name]

    @property
    def options(self) -> frozenset[str]:
        """Names of the options that are set; an engine must support all of them."""
        plain = self._field_defaults
        return frozenset(name for name in plain if getattr(self, name) != plain[name])

    @property
    def recurrent_size(self) -> int:
        """R, the size of h, which the next step and layer read: H or the projection's size."""
        return self.proj_size or self.hidden_size

    @property
    def output_size(self) -> int:
        """Features of y without a readout: those of both directions."""
        return self.directions * self.recurrent_size

    @property
    def layer_inputs(self) -> tuple[int, ...]:
        """Input size of every layer: all but the first read the hidden state of the one below."""
        return (self.input_size,) + (self.output_size,) * (self.num_layers - 1)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weight matrices of the model."""
        recurrent, hidden = self.recurrent_size, self.hidden_size
        projection = 4 * self.proj_size * hidden
        parts = (16 * hidden * (size + recurrent) + projection for size in self.layer_inputs)
        return self.directions * sum(parts)

    @property
    def row_lengths(self) -> np.ndarray:
        """Steps of every row, (B,) int64, unsorted."""
        return LENGTHS[self.lengths](self.steps, self.batch)

    def flop(self, mode: str) -> int:
        """Operations of the matrix products, a multiply-add counted as two.

        Forward is 8 T B (I + R) H a layer and direction, and 2 T B R H for a projection; with
        lengths, their sum replaces T B. Backward does every product twice, once for the gradient of
        its data and once for that of its weights, so training costs three times forward. A "step"
        adds the readout's products. The gradient of x counts in a "step", too, although no engine
        computes it there. Gates, loss and optimiser are not counted.
        """
        return sum(part.flop * part.repeats for part in self.parts(mode))

    def intensity(self, mode: str) -> float:
        """Operations for every byte of weights read, where a roofline puts this shape."""
        parts = self.parts(mode)
        return self.flop(mode) / sum(part.weight_bytes * part.repeats for part in parts)

    def parts(self, mode: str) -> list[Part]:
        """The products of a mode, each as large as the recurrence allows.

        The input product has no dependency over time: one product covers all steps and reads its
        weights once. The recurrent one must read its weights again at every step, and so must a
        projection. Weight gradients are one product each.
        """
        hidden, recurrent = self.hidden_size, self.recurrent_size
        rows, active = int(self.row_lengths.sum()), active_rows(self.row_lengths)

        def at_every_step(outputs: int, inputs: int) -> list[Part]:
            """Products of a matrix, one a step, on the active rows."""
            size = outputs * inputs
            return [Part(2 * n * size, 4 * size, count) for n, count in active.items()]

        def over_all_steps(outputs: int, inputs: int) -> list[Part]:
            return [Part(2 * rows * outputs * inputs, 4 * outputs * inputs, 1)]

        parts = []
        for size in self.layer_inputs:
            recurrences = [(4 * hidden, recurrent)]
            if self.proj_size:
                recurrences.append((recurrent, hidden))
            forward = over_all_steps(4 * hidden, size)
            for matrix in recurrences:
                forward += at_every_step(*matrix)
            parts += forward
            if mode != "forward":
                parts += forward + over_all_steps(4 * hidden, size)
                for matrix in recurrences:
                    parts += over_all_steps(*matrix)
        parts *= self.directions
        if mode == "step":
            parts += 3 * over_all_steps(CLASSES, self.output_size)
        return parts


def _shapes(*sizes: tuple[int, int, int, int, int], **options) -> tuple[Shape, ...]:
    return tuple(Shape(*numbers, **options) for numbers in sizes)


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

AMPS = (8, 12, 16, 24, 32, 40)  # hidden units of models of guitar amplifiers
SMALL = tuple(Shape(2000, 1, 1, hidden, 1) for hidden in (*AMPS, 48, 64, 80, 96))
FEW = tuple(Shape(1000, rows, 1, hidden, 1) for rows in (2, 3, 4, 8) for hidden in AMPS)

STREAMS = tuple(
    Shape(4 * STREAM_BLOCK, rows, 1, hidden, layers)
    for rows, layers in ((1, 1), (2, 1), (4, 1), (1, 2))
    for hidden in (AMPS if rows * layers > 1 else [shape.hidden_size for shape in SMALL])
)

STEPS = _shapes(
    (28, 64, 28, 128, 1),
    (100, 32, 64, 256, 2),
    (50, 128, 128, 512, 1),
    (8, 64, 8, 64, 1),
)

BIDIRECTIONAL = _shapes(
    (100, 1, 128, 128, 1),
    (100, 8, 128, 128, 1),
    (100, 32, 256, 256, 1),
    (100, 16, 256, 256, 2),
    (500, 1, 64, 64, 2),
    directions=2,
)

PROJECTED = (
    Shape(100, 1, 256, 512, 1, proj_size=128),
    Shape(100, 16, 256, 512, 1, proj_size=128),
    Shape(50, 32, 512, 1024, 1, proj_size=512),
)

RAGGED = _shapes(
    (10, 8, 64, 64, 1),
    (50, 32, 256, 256, 1),
    (100, 8, 256, 256, 1),
    (500, 32, 64, 64, 1),
    (2000, 8, 64, 64, 1),
    lengths="uniform",
)

HALF_FULL = tuple(
    shape._replace(lengths=lengths)
    for shape in _shapes(
        (100, 8, 64, 64, 1),
        (100, 8, 256, 256, 1),
        (100, 8, 512, 512, 1),
        (100, 32, 256, 256, 1),
        (50, 32, 512, 512, 1),
    )
    for lengths in ("uniform", "half", "one")
)

FEW_ROWS = tuple(
    Shape(100, batch, hidden, hidden, 1, lengths=lengths)
    for hidden in (64, 512)
    for batch, distributions in ((2, ("uniform",)), (3, ("uniform", "half", "one")))
    for lengths in distributions  # the others leave one of two rows: no question
)

SHARED = _shapes(
    (100, 1, 128, 128, 1),
    (100, 1, 256, 256, 1),
    (100, 32, 128, 128, 1),
    (28, 64, 28, 128, 1),
    (50, 16, 512, 512, 1),
)

HANDOVERS = (0, 130, 270)  # ns that CLSTM_HANDOVER adds

OTHER_CELLS = tuple(
    shape._replace(cell=cell)
    for shape in _shapes(
        (100, 16, 64, 64, 1),
        (100, 16, 256, 256, 1),
        (50, 32, 128, 128, 1),
        (28, 64, 28, 128, 1),
        (50, 32, 512, 512, 1),
    )
    for cell in CELLS
    if cell
)


THREADS = tuple(count for count in (1, 2) if count <= usable_cpus())


def parse_shape(text: str) -> Shape:
    """Read a shape in SHAPE_FORM; ValueError says what was expected."""
    sizes, words = text.split(",")[:5], text.split(",")[5:]
    options: dict = {}
    try:
        for word in words:
            if word.startswith("projection"):
                options["proj_size"] = int(word.removeprefix("projection"))
            else:
                options |= WORDS[word]
        shape = Shape(*(int(size) for size in sizes), **options)
    except (TypeError, ValueError, KeyError):
        raise ValueError(f"expected a shape as {SHAPE_FORM}, got {text!r}") from None
    if min(shape.sizes) < 1 or not 0 <= shape.proj_size < shape.hidden_size:
        raise ValueError(f"expected positive sizes, a projection below H, got {text!r}")
    return shape
