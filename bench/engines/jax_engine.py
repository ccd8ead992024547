"""JAX, which has no LSTM of its own: the scan of jax_model.py, compiled as a whole."""

from contextlib import nullcontext

import numpy as np

from bench.engines.arrays import DECAYS, first_step, output_gradient, sequence, targets, weights
from bench.measure.cpus import CAN_BIND
from bench.measure.shapes import Shape


class Jax:
    """JAX: gradients of x and every parameter, or a whole training step in one compiled function.

    At its import JAX starts a thread for each CPU of this process, so the process must be bound to
    a CPU for each of `threads` before.
    """

    title = "JAX"
    modes = ("training", "step") if CAN_BIND else ()
    modules = ("jax",)
    distribution = "jax"
    scope = nullcontext

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        import jax

        from bench.engines import jax_model

        self.jax, self.model, self.shape = jax, jax_model, shape
        # Copies: a step overwrites its arguments, which must not be NumPy's memory.
        self.parameters = jax.tree.map(jax.numpy.array, weights(shape, mode))
        self.x = jax.numpy.asarray(sequence(shape))
        if mode == "training":
            self.dy = jax.numpy.asarray(output_gradient(shape))
        else:
            self.targets = jax.numpy.asarray(targets(shape).astype(np.int32))
            self.averages = jax_model.no_averages(self.parameters)
        self.run, self.outputs = getattr(self, mode), getattr(self, f"{mode}_outputs")

    def training(self):
        return self.jax.block_until_ready(self.model.gradients(self.parameters, self.x, self.dy))

    def training_outputs(self, result) -> dict[str, np.ndarray]:
        y, gradients, x = result
        return {name: np.asarray(a) for name, a in {"y": y, "x": x, **gradients}.items()}

    def step(self):
        loss, self.parameters, self.averages = self.jax.block_until_ready(
            self.model.step(self.parameters, self.averages, self.x, self.targets)
        )
        return float(loss)

    def step_outputs(self, loss: float) -> dict[str, np.ndarray]:
        parameters = {name: np.asarray(a) for name, a in self.parameters.items()}
        # The step returns no gradient, but Adam's first average is a multiple of it.
        average, _, _ = self.averages
        gradients = {name: np.asarray(a) / (1 - DECAYS[0]) for name, a in average.items()}
        return first_step(self.shape, loss, parameters, gradients)
