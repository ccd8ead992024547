"""The roofline: GFLOP/s over operations per byte of weights, under the peaks of the machine."""

import math
from string import ascii_letters

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.measure.shapes import Shape
from bench.report.plot_style import COLOURS, legend, new_figure, plain_ticks
from bench.report.results import Result

ROOF = "#8a8f98"
ROOF_TEXT = {
    "fontsize": 9,
    "color": "#5b6068",
    "rotation_mode": "anchor",
    "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1},
}
INTENSITIES = (0.05, 400.0)
LETTER = 11.0  # height and distance of a letter, in typographic points
STYLES = {
    "clstm": {"color": COLOURS["clstm"], "label": "clstm"},
    "peer": {"color": COLOURS["torch"], "markerfacecolor": "none", "label": "fastest peer"},
}


def _roofs(axis: Axes, limit: dict, threads: int) -> None:
    """Memory and caches rise with the intensity until the multiply-add peak ends them."""
    peak = limit["gflops"][str(threads)]
    rates = {name: rate[str(threads)] for name, rate in limit["gbytes_per_second"].items()}
    (left, right), bottom = axis.get_xlim(), axis.get_ylim()[0]
    (x0, y0), (x1, y1) = axis.transData.transform([(1, 1), (10, 10)])
    angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
    for number, (name, rate) in enumerate(rates.items()):
        axis.plot([left, peak / rate], [left * rate, peak], color=ROOF, linewidth=1)
        # At different places along the lines: levels may be nearly equally fast.
        begin = max(left, bottom / rate) * (2.8, 1.1, 6.5)[number % 3]
        name = f"{name} {rate:.0f} GB/s"
        axis.text(begin, begin * rate, name, rotation=angle, va="center", **ROOF_TEXT)
    axis.plot([peak / max(rates.values()), right], [peak, peak], color=ROOF, linewidth=1)
    text = f"multiply-add {peak:.0f} GFLOP/s"
    axis.text(right, peak, text, va="center", ha="right", **ROOF_TEXT)


def _spread(heights: list[float]) -> list[float]:
    """Ascending heights, moved as little as possible to give every letter its room."""
    blocks: list[list[float]] = []  # heights that must stand together, about their mean

    def middle(block: list[float]) -> float:
        return sum(block) / len(block)

    for height in heights:
        blocks.append([height])
        while len(blocks) > 1:
            room = LETTER * (len(blocks[-1]) + len(blocks[-2])) / 2
            if middle(blocks[-1]) - middle(blocks[-2]) >= room:
                break
            last = blocks.pop()
            blocks[-1] += last
    return [
        middle(block) + LETTER * (number - (len(block) - 1) / 2)
        for block in blocks
        for number in range(len(block))
    ]


def _letters(axis: Axes, points: list[tuple[float, float, str]], who: str) -> None:
    """Letters beside a column of points, clstm's to the right and the peer's to the left."""
    side = 1 if who == "clstm" else -1
    to_points = 72 / axis.figure.dpi
    placed = sorted(
        (y * to_points, x * to_points, letter)
        for (x, y), (*_, letter) in zip(
            axis.transData.transform([point[:2] for point in points]), points, strict=True
        )
    )
    edge = side * max(side * x for _, x, _ in placed) + side * LETTER
    heights = _spread([y for y, _, _ in placed])
    for (y, x, letter), height in zip(placed, heights, strict=True):
        place = axis.transData.inverted().transform((x / to_points, y / to_points))
        axis.annotate(
            letter, place, (edge - x, height - y), textcoords="offset points", fontsize=9,
            ha="center", va="center", color=STYLES[who]["color"],
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": ROOF, "shrinkA": 3},
        )  # fmt: skip


def _columns(axis: Axes, results: list[Result]) -> list[list[Result]]:
    """Results of nearly the same intensity, whose letters would meet."""
    columns: list[list[Result]] = []
    last = -math.inf
    for result in sorted(results, key=lambda result: result.shape.intensity("forward")):
        x = axis.transData.transform((result.shape.intensity("forward"), 1))[0]
        if (x - last) * 72 / axis.figure.dpi > 2 * LETTER:
            columns.append([])
        columns[-1].append(result)
        last = x
    return columns


def _rates(result: Result) -> dict[str, float]:
    """GFLOP/s of clstm and of its fastest peer."""
    seconds = {"clstm": result.seconds}
    if result.peers:
        seconds["peer"] = min(map(result.peer_seconds, result.peers))
    flop = result.shape.flop("forward")
    return {who: flop / time / 1e9 for who, time in seconds.items()}


def _panel(axis: Axes, results: list[Result], names: dict[Shape, str]) -> None:
    for column in _columns(axis, results):
        for who, style in STYLES.items():
            points = [
                (result.shape.intensity("forward"), _rates(result)[who], names[result.shape])
                for result in column
                if who in _rates(result)
            ]
            if points:
                x, y, _ = zip(*points, strict=True)
                axis.plot(x, y, "o", markersize=6, **style)
                _letters(axis, points, who)


def roofline(results: list[Result], limit: dict, title: str) -> Figure:
    """A panel for every number of threads; `results` are of the forward pass."""
    shapes = dict.fromkeys(result.shape for result in results)
    names = dict(zip(shapes, ascii_letters, strict=False))
    counts = sorted({result.threads for result in results})
    figure, axes = new_figure(8, title, counts)
    slowest = min(min(_rates(result).values()) for result in results)
    highest = max(limit["gflops"].values())
    for axis in axes:
        axis.set(xscale="log", yscale="log", xlim=INTENSITIES, ylim=(slowest / 1.6, highest * 1.6))
        plain_ticks(axis.xaxis, 1)
        plain_ticks(axis.yaxis, 1, 2, 5)
        axis.set_xlabel("operations per byte of weights", fontsize=11)
    axes[0].set_ylabel("GFLOP/s", fontsize=11)
    engines = [Line2D([], [], marker="o", linestyle="", **style) for style in STYLES.values()]
    legend(figure, engines, 1, loc="outside lower left")
    key = [Line2D([], [], linestyle="", label=f"{names[shape]}  {shape}") for shape in shapes]
    form = {"loc": "outside lower right", "handlelength": 0, "handletextpad": 0, "fontsize": 10}
    legend(figure, key, 6, **form)
    figure.canvas.draw()  # lays the panels out: angles and distances are those on paper
    for axis, threads in zip(axes, counts, strict=True):
        _roofs(axis, limit, threads)
        _panel(axis, [result for result in results if result.threads == threads], names)
    return figure
