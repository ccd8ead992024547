"""Bars of peer / clstm for every shape."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.engines.registry import ENGINES, PEERS
from bench.measure.shapes import GRID, ODD, Shape
from bench.report.plot_style import COLOURS, legend, new_figure, plain_ticks
from bench.report.results import Result

GAP = 0.6  # between the grid and the odd shapes, in rows
TICK = {"color": "black", "marker": "|", "linestyle": ""}


def _bars(axis: Axes, results: list[Result], rows: dict[Shape, float], peers: list[str]) -> None:
    """Bars that begin at 1; a tick where the worst of several runs ended."""
    thickness = 0.8 / len(peers)
    for number, name in enumerate(peers):
        shift = (number - (len(peers) - 1) / 2) * thickness
        chosen = [result for result in results if name in result.peers]
        places = [rows[result.shape] + shift for result in chosen]
        widths = [result.ratio(name) - 1 for result in chosen]
        axis.barh(places, widths, left=1, height=0.9 * thickness, color=COLOURS[name])
        worst = [
            (min(result.ratios(name)), place)
            for result, place in zip(chosen, places, strict=True)
            if len(result.records) > 1
        ]
        if worst:
            axis.plot(*zip(*worst, strict=True), markersize=5, **TICK)


def _rows(shapes: set[Shape]) -> dict[Shape, float]:
    """The row of each shape's bars: the grid above, the odd shapes below."""
    above = [shape for shape in GRID if shape in shapes]
    below = [shape for shape in ODD if shape in shapes]
    gap = GAP if above else 0.0
    return {
        **{shape: float(row) for row, shape in enumerate(above)},
        **{shape: row + gap for row, shape in enumerate(below, start=len(above))},
    }


def ratios(results: list[Result], title: str) -> Figure:
    """A panel for every number of threads; `results` have peers and are of one mode."""
    rows = _rows({result.shape for result in results})
    peers = [name for name in PEERS if any(name in result.peers for result in results)]
    counts = sorted({result.threads for result in results})
    figure, axes = new_figure(1.8 + 0.32 * len(rows), title, counts)
    for axis, threads in zip(axes, counts, strict=True):
        _bars(axis, [result for result in results if result.threads == threads], rows, peers)
        axis.axvline(1, color="black", linewidth=1.2)
        axis.set_xscale("log")
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("time of the peer / time of clstm", fontsize=11)
        plain_ticks(axis.xaxis, 1, 2, 5)
    left, right = axes[0].get_xlim()
    axes[0].set_xlim(min(left, 0.8), max(right, 1.25))  # the line at 1 stands free
    axes[0].set_yticks(list(rows.values()), [str(shape) for shape in rows], fontsize=10)
    axes[0].set_ylabel("T, B, I, H, L", fontsize=11)
    axes[0].set_ylim(max(rows.values()) + 0.6, -0.6)
    handles = [
        Line2D([], [], color=COLOURS[name], linewidth=8, label=ENGINES[name].title)
        for name in peers
    ]
    if any(len(result.records) > 1 for result in results):
        handles.append(Line2D([], [], label="worst run", **TICK))
    handles.append(Line2D([], [], color="black", label="right of 1, clstm is the faster one"))
    legend(figure, handles, len(handles))
    return figure
