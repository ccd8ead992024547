"""Every shape's ratios as points: a small plot, for the README."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.engines.registry import ENGINES, PEERS
from bench.measure.shapes import GRID, ODD
from bench.report.plot_style import COLOURS, legend, new_figure, plain_ticks
from bench.report.results import Result


def overview(results: list[Result], title: str) -> Figure:
    """A panel for every number of threads; `results` have peers and are of one mode."""
    present = {result.shape for result in results}
    shapes = [shape for shape in (*GRID, *ODD) if shape in present]
    peers = [name for name in PEERS if any(name in result.peers for result in results)]
    counts = sorted({result.threads for result in results})
    figure, axes = new_figure(4.4, title, counts)
    for axis, threads in zip(axes, counts, strict=True):
        axis.axhline(1, color="black", linewidth=1.2)
        for name in peers:
            chosen = [r for r in results if r.threads == threads and name in r.peers]
            places = [shapes.index(result.shape) for result in chosen]
            values = [result.ratio(name) for result in chosen]
            axis.plot(places, values, "o", markersize=6, color=COLOURS[name])
        axis.set_yscale("log")
        plain_ticks(axis.yaxis, 1, 2, 5)
        axis.set_xticks(range(len(shapes)), [str(s) for s in shapes], fontsize=8, rotation=90)
    bottom, top = axes[0].get_ylim()
    axes[0].set_ylim(min(bottom, 0.85), top)
    axes[0].set_ylabel("time of the peer / time of clstm", fontsize=11)
    axes[0].set_xlim(-0.7, len(shapes) - 0.3)
    handles = [
        Line2D([], [], color=COLOURS[name], marker="o", linestyle="", label=ENGINES[name].title)
        for name in peers
    ]
    handles.append(Line2D([], [], color="black", label="above 1, clstm is the faster one"))
    legend(figure, handles, len(handles))
    return figure
