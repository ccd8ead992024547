"""The figures in README and docs are those of the reports in docs/benchmarks."""

import re
from collections.abc import Callable

import pytest

from tests.project.benchmark_tables import extent, geometric_mean, ratios, summary, table
from tests.support.paths import ROOT

MACHINE, AVX2 = "epyc-avx512-2-cpus", "epyc-avx2-2-cpus"
BOTH = "PyTorch", "ONNX Runtime"


def words(path: str) -> str:
    """A document's text on one line."""
    return re.sub(r"\s+", " ", (ROOT / path).read_text("utf-8"))


def forward(threads: int) -> list[float]:
    grid = ratios(MACHINE, "Forward", *BOTH, threads=threads)
    return grid + ratios(MACHINE, "Forward, odd shapes", *BOTH, threads=threads)


def test_the_sentence_of_figures_in_the_readme():
    readme = words("README.md")
    one, two = (geometric_mean(ratios(MACHINE, "Forward", *BOTH, threads=n)) for n in (1, 2))
    grid, least = len(ratios(MACHINE, "Forward", *BOTH, threads=1)), min(forward(1) + forward(2))
    assert f"on all {len(forward(1))} shapes" in readme
    assert f"{one:.2f} times as fast on one thread and {two:.2f} times on two" in readme
    assert f"(geometric mean over the grid of {grid})" in readme
    assert f"never less than {least:.2f} times" in readme


def on_each(figures: Callable[[int], list[float]]) -> list[str]:
    """The extent on one thread and on two."""
    return [extent(figures(threads)) for threads in (1, 2)]


def least_of_training(threads: int) -> str:
    rows = [row for row in table(MACHINE, "Forward and backward") if row["threads"] == str(threads)]
    sequences = [row for row in rows if not row["T,B,I,H,L"].startswith("1,")]
    return f"{min(float(row['PyTorch, worst']) for row in sequences):.2f}"


def held_to_avx2(threads: int) -> list[float]:
    titles = "Forward", "Forward, odd shapes"
    return [r for title in titles for r in ratios(AVX2, title, "PyTorch", threads=threads)]


def module(work: str, threads: int) -> list[float]:
    rows = table(MACHINE, "clstm in PyTorch")
    chosen = [row for row in rows if row[""] == work and row["threads"] == str(threads)]
    return [float(row["PyTorch"]) for row in chosen]


def beside(title: str, peer: str) -> list[str]:
    return on_each(lambda threads: ratios(MACHINE, title, peer, threads=threads))


ROWS = {
    "forward beside the faster of PyTorch and ONNX Runtime, geometric mean": summary(
        MACHINE, "geometric mean over the grid"
    ),
    "the same, at the least": [f"{min(forward(threads)):.2f}" for threads in (1, 2)],
    "forward, % of the multiply-add peak, B >= 16, H >= 256": summary(
        MACHINE, "% of the multiply-add peak, B >= 16, H >= 256, H % 16 = 0"
    ),
    "held to AVX2, forward beside PyTorch": on_each(held_to_avx2),
    "forward and backward beside PyTorch, geometric mean": summary(
        MACHINE, "geometric mean over the grid, T > 1"
    ),
    "the same, at the least, worst run": [least_of_training(threads) for threads in (1, 2)],
    "forward and backward, % of the multiply-add peak, B >= 32, H >= 256": summary(
        MACHINE, "% of the multiply-add peak, B >= 32, H >= 256"
    ),
    "whole training steps beside PyTorch": summary(MACHINE, "time of PyTorch / clstm"),
    "memory of whole training steps, PyTorch / clstm": summary(
        MACHINE, "memory of PyTorch / clstm"
    ),
    "unequal lengths beside PyTorch's PackedSequence": summary(
        MACHINE, "ragged: time of PyTorch, packed / clstm"
    ),
    "the same with gradients": summary(MACHINE, "ragged: time of PyTorch, packed / clstm", 1),
    "unequal lengths beside ONNX Runtime": beside("Forward, ragged", "ONNX Runtime"),
    "two directions, forward, beside PyTorch": beside("Forward, two directions", "PyTorch"),
    "two directions, forward, beside ONNX Runtime": beside(
        "Forward, two directions", "ONNX Runtime"
    ),
    "projection, forward, beside PyTorch": beside("Forward, projection", "PyTorch"),
    "inside PyTorch: `clstm.interop.torch.LSTM` beside `nn.LSTM`, forward": on_each(
        lambda threads: module("forward", threads)
    ),
    "the same, forward and backward": on_each(lambda threads: module("training", threads)),
    "half full rows over full rows, B >= 8, forward": summary(
        MACHINE, "forward: time over that of full rows, B >= 8"
    ),
    "other cells over the plain cell, forward": summary(
        MACHINE, "forward: time over that of the plain cell"
    ),
    "the same, with gradients": summary(MACHINE, "training: time over that of the plain cell"),
}


@pytest.mark.parametrize("label", ROWS)
def test_rows_of_the_table_in_performance(label):
    one, two = ROWS[label]
    assert f"| {label} | {one or ' '} | {two} |".replace("|   |", "| |") in words(
        "docs/performance.md"
    )


def test_figures_of_streams_in_performance():
    rows = table(MACHINE, "Streams, one thread")
    [forty] = [row for row in rows if row["H"] == "40"]
    to_block, to_step = ([float(row[name]) for row in rows] for name in ("to block", "to step"))
    text = words("docs/performance.md")
    block, step = (round(float(forty[name])) for name in ("block ns", "step ns"))
    assert f"takes {block} ns a sample in blocks, {step} ns in single steps" in text
    assert f"{float(forty['Python us']):.1f} us from Python" in text
    assert f"{extent(to_block)} times as long as a block" in text
    assert f"{extent(to_step)} times as long as a single step" in text
