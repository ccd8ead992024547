"""A random model, its inputs and its state, all of one shape."""

from dataclasses import dataclass, fields

import numpy as np

import clstm
from clstm.configuration import Configuration

# How the names begin of parameters that are left as initialised.
KEPT = ("weight_ih_l", "weight_hh_l", "weight_hr_l", "weight_out", "bias_l", "bias_out")


@dataclass(frozen=True)
class Case:
    """One shape of a model and a sequence, with what is drawn for it."""

    steps: int = 7
    batch: int = 3
    input_size: int = 5
    hidden_size: int = 6
    num_layers: int = 1
    output_size: int | None = None
    bias: bool = True
    dtype: type = np.float32
    seed: int = 0
    direction: str = "forward"  # or "reverse", or "both"
    proj_size: int = 0
    learn_state: bool = False
    lengths: tuple[int, ...] | None = None
    cell: clstm.Cell | None = None  # None: the constructor is told of none

    @property
    def directions(self):
        return 2 if self.direction == "both" else 1

    @property
    def recurrent_size(self):
        return self.proj_size or self.hidden_size

    @property
    def width(self):
        """The elements of the last layer's h: D R."""
        return self.directions * self.recurrent_size

    def model(self, **kwargs):
        """A model as initialised, but with drawn tensors where zeros are the default (not biases).

        Without a bias of the readout y would be zero after a row's end by chance.
        """
        options = {name: getattr(self, name) for name in OPTIONS}
        if self.direction == "both":
            options |= {"bidirectional": True, "direction": "forward"}
        if self.cell is None:
            del options["cell"]
        model = clstm.LSTM(**options, rng=self.seed, **kwargs)
        drawn = {"h0", "c0"} if self.lengths is None else {"h0", "c0", "bias_out"}
        names = sorted(drawn & set(model.parameters))
        others = [n for n in model.parameters if not n.startswith(KEPT) and n not in names]
        if names or others:
            with model.edit() as parameters:
                for salt, name in enumerate(names, start=20):
                    parameters[name][...] = self.draw(*parameters[name].shape, salt=salt)
                for salt, name in enumerate(others, start=30):
                    parameters[name][...] = 0.5 * self.draw(*parameters[name].shape, salt=salt)
        return model

    def draw(self, *shape, salt=0):
        rng = np.random.default_rng((self.seed, salt))
        return rng.standard_normal(shape).astype(self.dtype)

    def padding(self):
        """(T, B): whether row b has no step t."""
        steps, lengths = np.arange(self.steps)[:, np.newaxis], self.lengths
        return steps >= np.array(self.steps if lengths is None else lengths, int).reshape(1, -1)

    def padded(self, sequence):
        """The sequence with NaN where nothing may read it."""
        sequence[np.broadcast_to(self.padding(), sequence.shape[:2])] = np.nan
        return sequence

    def x(self):
        return self.padded(self.draw(self.steps, self.batch, self.input_size, salt=1))

    def state(self, salt=2):
        shape = self.num_layers * self.directions, self.batch
        h = self.draw(*shape, self.recurrent_size, salt=salt)
        return h, self.draw(*shape, self.hidden_size, salt=salt + 1)

    def dy(self):
        return self.padded(
            self.draw(self.steps, self.batch, self.output_size or self.width, salt=4)
        )


# The arguments of a model that a case has; an option of a model becomes one by its line in Case.
OPTIONS = [f.name for f in fields(Configuration) if f.name in {f.name for f in fields(Case)}]
