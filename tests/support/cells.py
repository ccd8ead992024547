"""The functions of a cell, and cells by what their repr shows."""

from clstm import Activation, Cell

PARAMETERS = {  # every function's, with ONNX's defaults
    "sigmoid": (None, None),
    "tanh": (None, None),
    "relu": (None, None),
    "hard_sigmoid": (0.2, 0.5),
    "affine": ("needed", "needed"),
    "leaky_relu": (0.01, None),
    "thresholded_relu": (1.0, None),
    "scaled_tanh": ("needed", "needed"),
    "elu": (1.0, None),
    "softsign": (None, None),
    "softplus": (None, None),
}
TRAINABLE = ("sigmoid", "tanh", "relu", "hard_sigmoid")
SLOTS = ("gate", "cell", "hidden")


def activation(name):
    """One of this name, with parameters where they are needed."""
    return Activation(name, *(0.5 if p == "needed" else None for p in PARAMETERS[name]))


CELLS = {
    "Cell()": Cell(),
    "Cell(peephole=True)": Cell(peephole=True),
    "Cell(coupled=True, clip=1.5)": Cell(coupled=True, clip=1.5),
    "Cell(cell_clip=0.1, gate='hard_sigmoid')": Cell(cell_clip=0.1, gate="hard_sigmoid"),
    "Cell(cell='softsign', hidden=Activation('leaky_relu', alpha=0.3))": Cell(
        cell="softsign", hidden=Activation("leaky_relu", alpha=0.3)
    ),
    "Cell(gate=Activation('hard_sigmoid', beta=0.0), hidden='elu')": Cell(
        gate=Activation("hard_sigmoid", 0.2, 0), hidden=Activation("elu", 1)
    ),
    "Cell(peephole=True, coupled=True, clip=3.0, cell_clip=2.0, "
    "gate=Activation('affine', alpha=0.5, beta=0.0), cell='relu')": Cell(
        peephole=True,
        coupled=True,
        clip=3,
        cell_clip=2,
        gate=Activation("affine", 0.5, 0.0),
        cell="relu",
        hidden="tanh",
    ),
}
