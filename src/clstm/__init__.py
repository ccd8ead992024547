"""The fastest LSTM on a CPU, for people who don't want a framework.

>>> import numpy as np
>>> import clstm
>>> lstm = clstm.LSTM(input_size=3, hidden_size=8, output_size=2, rng=0)
>>> y, (h, c) = lstm(np.zeros((10, 4, 3)))
>>> y.shape
(10, 4, 2)
"""

from . import layers, losses, optim
from ._core import version as __version__
from .cell import Activation, Cell
from .engine import get_engine, get_team, set_engine, set_team
from .info import config, get_include, get_library, show_config
from .load import load
from .lstm import LSTM
from .parameters import Parameters
from .sequential import Sequential, SequentialTape
from .stream import Stream
from .tape import Gradients, Tape
from .threads import get_num_threads, set_num_threads
from .windows import Windows

__all__ = [
    "LSTM",
    "Activation",
    "Cell",
    "Gradients",
    "Parameters",
    "Sequential",
    "SequentialTape",
    "Stream",
    "Tape",
    "Windows",
    "__version__",
    "config",
    "get_engine",
    "get_include",
    "get_library",
    "get_num_threads",
    "get_team",
    "layers",
    "load",
    "losses",
    "optim",
    "set_engine",
    "set_num_threads",
    "set_team",
    "show_config",
]
