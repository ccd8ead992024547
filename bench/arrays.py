"""What every engine computes with: the same weights and inputs of a shape, in every process."""

import numpy as np
from shapes import Shape


def weights(shape: Shape) -> dict[str, np.ndarray]:
    """The float32 parameters of `shape` by their names in clstm, the same in every process.

    Uniform within 1 / sqrt(H), as PyTorch draws them: gates neither saturate nor stay linear.
    """
    rng = np.random.default_rng(1)
    hidden = shape.hidden_size
    arrays = {}
    for layer, size in enumerate(shape.layer_inputs):
        columns = {"weight_ih": (size,), "weight_hh": (hidden,), "bias": ()}
        for name, rest in columns.items():
            values = rng.uniform(-1.0, 1.0, (4 * hidden, *rest)) / np.sqrt(hidden)
            arrays[f"{name}_l{layer}"] = values.astype(np.float32)
    return arrays


def inputs(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """x (T, B, I) and the loss's gradient dy (T, B, H), float32, the same in every process."""
    rng = np.random.default_rng(2)
    rows = (shape.steps, shape.batch)
    x = rng.standard_normal((*rows, shape.input_size), dtype=np.float32)
    dy = rng.standard_normal((*rows, shape.hidden_size), dtype=np.float32)
    return x, dy
