"""clstm on arrays, with or without lengths, and on lists of sequences."""

from contextlib import nullcontext

import numpy as np
from threadpoolctl import threadpool_limits

from bench.engines.arrays import (
    LEARNING_RATE,
    MAX_NORM,
    first_step,
    output_gradient,
    padded,
    rows,
    sequence,
    targets,
    weights,
)
from bench.measure.cells import CELLS
from bench.measure.shapes import CLASSES, Shape


class Clstm:
    """clstm: `lstm(x)`; `record` and `backward` for training; its loss and its Adam."""

    title = "clstm"
    modes = ("forward", "training", "step")
    modules = ("clstm",)
    distribution = "clstm-cpu"
    options = frozenset({"directions", "proj_size", "lengths", "cell"})
    scope = nullcontext

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        import clstm

        self.clstm, self.shape, self.threads = clstm, shape, threads
        sizes = (shape.input_size, shape.hidden_size, shape.num_layers)
        options = {"bidirectional": shape.directions == 2, "proj_size": shape.proj_size}
        options["cell"] = clstm.Cell(**CELLS[shape.cell])
        readout = CLASSES if mode == "step" else None
        with threadpool_limits(1, user_api="blas"):  # the initial weights are drawn by QR
            self.lstm = clstm.LSTM(*sizes, output_size=readout, **options, rng=0)
        self.lstm.load_state_dict(weights(shape, mode))
        self.x = sequence(shape)
        self.lengths = shape.row_lengths if shape.lengths else None
        if mode == "training":
            self.dy = output_gradient(shape)
        if mode == "step":
            self.targets = targets(shape)
            self.adam = clstm.optim.Adam(self.lstm, LEARNING_RATE)
            clstm.set_num_threads(threads)  # for clipping and Adam
        self.run, self.outputs = getattr(self, mode), getattr(self, f"{mode}_outputs")

    def forward(self):
        return self.lstm(self.x, lengths=self.lengths, num_threads=self.threads)

    def forward_outputs(self, result) -> dict[str, np.ndarray]:
        y, (h, c) = result
        return {"y": y, "h": h, "c": c}

    def training(self):
        tape = self.lstm.record(self.x, lengths=self.lengths, num_threads=self.threads)
        return tape, tape.backward(self.dy, num_threads=self.threads)

    def training_outputs(self, result) -> dict[str, np.ndarray]:
        tape, grad = result
        return {"y": tape.y, "x": grad.x, **grad.parameters}

    def step(self):
        tape = self.lstm.record(self.x, lengths=self.lengths, num_threads=self.threads)
        loss, dy = self.clstm.losses.softmax_cross_entropy(tape.y, self.targets)
        grad = tape.backward(dy, grad_x=False, num_threads=self.threads)  # no peer computes it
        self.clstm.optim.clip_global_norm(grad, MAX_NORM)
        self.adam.step(grad)
        return loss, grad.parameters

    def step_outputs(self, result) -> dict[str, np.ndarray]:
        loss, gradients = result
        return first_step(self.shape, loss, dict(self.lstm.parameters), dict(gradients))


class ClstmList(Clstm):
    """clstm on a list of sequences: no padding anywhere."""

    title = "clstm, list"
    modes = ("forward", "training")
    needs = frozenset({"lengths"})

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        super().__init__(shape, mode, threads)
        self.x, self.lengths = rows(shape, self.x), None
        if mode == "training":
            self.dy = rows(shape, self.dy)

    def forward_outputs(self, result) -> dict[str, np.ndarray]:
        y, (h, c) = result
        return {"y": padded(self.shape, y), "h": h, "c": c}

    def training_outputs(self, result) -> dict[str, np.ndarray]:
        tape, grad = result
        arrays = {"y": padded(self.shape, tape.y), "x": padded(self.shape, grad.x)}
        return {**arrays, **grad.parameters}
