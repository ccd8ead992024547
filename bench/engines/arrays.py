"""Weights, inputs and targets of a shape: the same for every engine, in every process."""

import numpy as np

from bench.measure.cells import CELLS
from bench.measure.shapes import CLASSES, Shape

# For the whole training step; Adam's other settings are the defaults of all libraries.
LEARNING_RATE = 1e-3
MAX_NORM = 1.0  # above every norm here, so clipping computes the norm and scales nothing
DECAYS = (0.9, 0.999)
EPSILON = 1e-8


def weights(shape: Shape, mode: str = "forward") -> dict[str, np.ndarray]:
    """The float32 parameters of `shape` by their names in clstm, with a readout's for "step".

    They are uniform within 1 / sqrt(H), as in PyTorch: gates neither saturate nor stay linear.
    """
    rng = np.random.default_rng(1)
    hidden, recurrent = shape.hidden_size, shape.recurrent_size
    sizes = {}
    for layer, size in enumerate(shape.layer_inputs):
        for suffix in ("", "_reverse")[: shape.directions]:
            sizes[f"weight_ih_l{layer}{suffix}"] = (4 * hidden, size)
            sizes[f"weight_hh_l{layer}{suffix}"] = (4 * hidden, recurrent)
            sizes[f"bias_l{layer}{suffix}"] = (4 * hidden,)
            if shape.proj_size:
                sizes[f"weight_hr_l{layer}{suffix}"] = (recurrent, hidden)
            if CELLS[shape.cell].get("peephole"):
                sizes[f"weight_peephole_l{layer}{suffix}"] = (3 * hidden,)
    if mode == "step":
        sizes |= {"weight_out": (CLASSES, shape.output_size), "bias_out": (CLASSES,)}

    def draw(size: tuple[int, ...]) -> np.ndarray:
        # In place and in float32: engines draw weights while their peak memory is measured.
        values = rng.random(size, dtype=np.float32)
        values -= np.float32(0.5)
        values *= np.float32(2.0 / np.sqrt(hidden))
        return values

    return {name: draw(size) for name, size in sizes.items()}


def sequence(shape: Shape) -> np.ndarray:
    """x (T, B, I), float32; the padding after a row's end is random, not zero."""
    size = (shape.steps, shape.batch, shape.input_size)
    return np.random.default_rng(2).standard_normal(size, dtype=np.float32)


def output_gradient(shape: Shape) -> np.ndarray:
    """dy (T, B, D*R), the gradient of a loss, float32; zero after the end of a row."""
    size = (shape.steps, shape.batch, shape.output_size)
    return without_padding(shape, np.random.default_rng(3).standard_normal(size, dtype=np.float32))


def without_padding(shape: Shape, array: np.ndarray) -> np.ndarray:
    """A copy of an array (T, B, ...) that is zero after the end of a row."""
    there = np.arange(shape.steps)[:, np.newaxis] < shape.row_lengths
    return np.where(there[..., np.newaxis], array, np.float32(0))


def rows(shape: Shape, array: np.ndarray) -> list[np.ndarray]:
    """The rows of an array (T, B, ...) as contiguous arrays (T_i, ...)."""
    return [array[:end, row].copy() for row, end in enumerate(shape.row_lengths)]


def padded(shape: Shape, rows: list[np.ndarray]) -> np.ndarray:
    """The inverse of `rows`: an array (T, B, ...), zero after the ends of the rows."""
    whole = np.zeros((shape.steps, shape.batch, *rows[0].shape[1:]), np.float32)
    for row, values in enumerate(rows):
        whole[: len(values), row] = values
    return whole


def targets(shape: Shape) -> np.ndarray:
    """The class of every time step's output (T, B), int64."""
    return np.random.default_rng(4).integers(0, CLASSES, (shape.steps, shape.batch))


def first_step(
    shape: Shape,
    loss: float,
    parameters: dict[str, np.ndarray],
    gradients: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Loss, gradients and changes of a first training step, comparable between engines.

    Gradients are of the sum over all rows: gradients of the mean would be below the tolerance.
    Adam's first change is about lr * sign(gradient), which is arbitrary where a gradient is nearly
    0; weighted by the gradient's size it is as exact as the gradient.
    """
    found = {"loss": np.asarray(loss)}
    for name, before in weights(shape, "step").items():
        gradient = gradients[name] * (shape.steps * shape.batch)
        change = (before - parameters[name]) / LEARNING_RATE
        found |= {name: gradient, f"change of {name}": change * np.abs(gradient)}
    return found
