"""What the plots share: size, colours, legend, ticks. A README shows them 900 pixels wide."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from bench.engines.registry import ENGINES

COLOURS = {
    "clstm": "#1b3a57",
    "torch": "#e4572e",
    "onnxruntime": "#4c9bd6",
    "openvino": "#8a6fb8",
    "jax": "#4a9d6f",
}
# The other engines run only ragged shapes or the module in PyTorch, which aren't drawn.
_drawn = {name for name, engine in ENGINES.items() if engine.modes and not hasattr(engine, "needs")}
assert COLOURS.keys() == _drawn
WIDTH = 12.0  # inches
DPI = 150


def new_figure(height: float, title: str, panels: list[int]) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for every number of threads in `panels`, side by side."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08, w_pad=0.08)
    figure.suptitle(title, fontsize=14, fontweight="bold")
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for axis, threads in zip(axes, panels, strict=True):
        axis.set_title(f"{threads} thread" if threads == 1 else f"{threads} threads", fontsize=12)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
        axis.grid(color="#e9ebee")
    return figure, list(axes)


def plain_ticks(axis, *subdivisions: int) -> None:
    """Numbers as 0.5, 1, 2 on a logarithmic axis, instead of powers of ten."""
    axis.set_major_locator(LogLocator(subs=subdivisions))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def legend(figure: Figure, handles: list, columns: int, **options) -> None:
    """A legend outside of all axes, where it hides no figure: below them, or at `loc`."""
    options = {"loc": "outside lower center", "frameon": False, "fontsize": 11, **options}
    figure.legend(handles=handles, ncols=columns, **options)
