"""The summary on invented figures with known results."""

from bench.measure.shapes import (
    BIDIRECTIONAL,
    FEW_ROWS,
    GRID,
    HALF_FULL,
    ODD,
    OTHER_CELLS,
    RAGGED,
    SMALL,
    STEPS,
    Shape,
)
from bench.report.results import merge
from bench.report.summary import step_ns, summary


def record(shape: Shape, threads: int, microseconds: float, **figures) -> dict:
    """A record of the JSON, by default of forward; `ratios` maps peers to peer / clstm."""
    ratios = figures.pop("ratios", {})
    peers = {name: {"us": microseconds * ratio, "ratio": ratio} for name, ratio in ratios.items()}
    case = {"mode": "forward", "shape": list(shape), "threads": threads, "peers": peers}
    return {"extra_info": case | {"us": microseconds} | figures}


def row(text: str, name: str) -> list[str]:
    """The cells of a row of the summary."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {name}"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_one_run_behind_counts_and_openvino_does_not():
    good = {"torch": 2.0, "onnxruntime": 1.0, "openvino": 0.5}
    bad = {"torch": 2.0, "onnxruntime": 0.96, "openvino": 0.5}
    runs = [[record(GRID[0], 1, 9.0, ratios=good), record(ODD[0], 1, 9.0, ratios=ratios)]
            for ratios in (good, bad, good)]  # fmt: skip
    text = summary(merge(runs))
    assert row(text, "shapes of the grid below") == ["0 of 1"]
    assert row(text, "odd shapes below") == ["1 of 1"]
    assert f"Below 0.97 on 1 thread(s): {ODD[0]} (0.96, ONNX Runtime)." in text


def test_geometric_mean_of_the_faster_peer_and_of_the_worst_runs():
    def run(first: float, second: float) -> list[dict]:
        return [
            record(GRID[0], 2, 1.0, ratios={"torch": first, "onnxruntime": 9.0}),
            record(GRID[1], 2, 1.0, ratios={"torch": 9.0, "onnxruntime": second}),
        ]

    text = summary(merge([run(2.0, 8.0), run(1.0, 8.0), run(2.0, 4.0)]))
    assert row(text, "geometric mean") == ["4.00 (worst runs: 2.00)"]


def test_shares_of_the_limit_and_of_one_thread():
    big, wide = Shape(100, 1, 512, 512, 1), Shape(100, 32, 512, 512, 1)
    records = [
        record(big, 1, 100.0, percent_of_limit=80.0, percent_of_peak=8.0),
        record(big, 2, 60.0, percent_of_limit=70.0, percent_of_peak=7.0, over_one_thread=0.6),
        record(wide, 1, 100.0, percent_of_limit=90.0, percent_of_peak=91.0),
        record(wide, 2, 50.0, percent_of_limit=90.0, percent_of_peak=85.0, over_one_thread=0.55),
    ]
    text = summary(merge([records]))
    assert row(text, "% of the multiply-add peak") == [f"91 ({wide})", f"85 ({wide})"]
    assert row(text, "% of the limit") == [f"80 ({big})", f"70 ({big})"]
    assert row(text, "time over that on one thread") == ["", f"0.55 to 0.60 ({big})"]


def test_handover_between_threads():
    near, far = Shape(100, 1, 64, 64, 1), Shape(100, 1, 128, 128, 1)
    records = [record(near, 1, 9.0), record(near, 2, 9.0, handover_ns=38.0),
               record(far, 1, 9.0), record(far, 2, 9.0, handover_ns=160.0)]  # fmt: skip
    assert row(summary(merge([records])), "ns of a handover") == ["", f"38 to 160 ({far})"]


def test_small_models_over_their_limit():
    first, second, third = SMALL[:3]
    records = [
        record(first, 1, 280.0, limit_us=160.0),
        record(second, 1, 320.0, limit_us=160.0),
        record(third, 1, 999.0),
    ]
    results = merge([records])
    assert [step_ns(result) for result in results] == [(140.0, 80.0), (160.0, 80.0), None]
    assert row(summary(results), "small models: time / limit") == [f"1.75 to 2.00 ({second})"]


def test_training_is_compared_with_pytorch_for_several_steps():
    def run(ratio: float) -> list[dict]:
        return [
            record(GRID[0], 1, 9.0, mode="training", ratios={"torch": 0.5}),
            record(GRID[3], 1, 9.0, mode="training", ratios={"torch": 8.0, "jax": 0.1}),
            record(GRID[4], 1, 9.0, mode="training", ratios={"torch": ratio}),
        ]

    assert GRID[0].steps == 1 < min(GRID[3].steps, GRID[4].steps)
    text = summary(merge([run(2.0), run(2.0), run(0.5)]))
    assert row(text, "shapes of the grid, T > 1, below") == ["1 of 2"]
    assert row(text, "geometric mean over the grid, T > 1") == ["4.00 (worst runs: 2.00)"]
    assert f"Below 0.97 on 1 thread(s): {GRID[4]} (0.50, PyTorch)." in text


def test_share_of_the_peak_in_training():
    wide = Shape(100, 32, 512, 512, 1)
    records = [
        record(wide, 1, 9.0, mode="training", percent_of_peak=80.0),
        record(Shape(100, 16, 256, 256, 1), 1, 9.0, mode="training", percent_of_peak=7.0),
        record(Shape(50, 128, 512, 512, 1), 1, 9.0, mode="training", percent_of_peak=85.0),
    ]
    text = summary(merge([records]))
    assert row(text, "% of the multiply-add peak, B >= 32") == [f"80 to 85 ({wide})"]


def test_whole_steps_with_the_worst_run_and_the_memory_of_every_peer():
    def run(ratio: float) -> list[dict]:
        first = {"ratios": {"torch": ratio, "jax": 3.0}}
        first["memory_mb"] = {"clstm": 2.0, "torch": 9.0, "jax": 8.0}
        second = {"ratios": {"torch": 2.5}, "memory_mb": {"clstm": 4.0, "torch": 6.0}}
        return [
            record(STEPS[0], 1, 9.0, mode="step", **first),
            record(STEPS[1], 1, 9.0, mode="step", **second),
        ]

    text = summary(merge([run(1.5), run(0.9), run(2.0)]))
    assert row(text, "time of PyTorch / clstm") == [f"0.90 to 2.50 ({STEPS[0]})"]
    assert row(text, "memory of PyTorch / clstm") == [f"1.50 to 4.50 ({STEPS[1]})"]
    assert row(text, "time of JAX / clstm") == [f"3.00 ({STEPS[0]})"]
    assert row(text, "memory of JAX / clstm") == [f"4.00 ({STEPS[0]})"]
    assert f"Below 0.97 on 1 thread(s): {STEPS[0]} (0.90, PyTorch)." in text


def test_each_mode_has_a_table_of_its_own():
    modes = {"forward": GRID[4], "training": GRID[4], "step": STEPS[0]}
    records = [
        record(shape, 1, 9.0, mode=mode, ratios={"torch": 2.0}) for mode, shape in modes.items()
    ]
    heads = [line for line in summary(merge([records])).splitlines() if "1 thread(s) |" in line]
    assert [head.split("|")[1].strip() for head in heads] == [
        "forward",
        "forward and backward",
        "whole training step",
    ]


def test_ragged_rows_are_compared_with_every_way_to_run_them():
    first = {"torch": 5.0, "torch_padded": 1.5, "onnxruntime": 3.0, "clstm_list": 0.5}
    second = {"torch": 1.9, "torch_padded": 0.8, "onnxruntime": 3.0, "clstm_list": 0.5}
    records = [record(RAGGED[0], 1, 9.0, ratios=first), record(RAGGED[1], 1, 9.0, ratios=second)]
    records.append(record(BIDIRECTIONAL[0], 1, 9.0, ratios={"torch": 2.0}))
    text = summary(merge([records]))
    assert row(text, "ragged shapes below") == ["1 of 2"]
    assert row(text, "bidirectional shapes below") == ["0 of 1"]
    assert row(text, "ragged: time of PyTorch, packed") == [f"1.90 to 5.00 ({RAGGED[1]})"]
    assert f"Below 0.97 on 1 thread(s): {RAGGED[1]} (0.80, PyTorch, padded)." in text


def test_lengths_of_the_worst_run():
    few = FEW_ROWS[0]

    def run(ratio: float) -> list[dict]:
        case = {"mode": "lengths", "work": "training"}
        return [
            record(HALF_FULL[0], 1, 9.0, **case, ratio=0.5),
            record(HALF_FULL[1], 1, 9.0, **case, ratio=ratio),
            record(few, 1, 9.0, **case, ratio=0.9, ratio_to_steps=0.98),
        ]

    text = summary(merge([run(0.6), run(0.7), run(0.6)]))
    assert row(text, "training: time over that of full") == [f"0.50 to 0.70 ({HALF_FULL[1]})"]
    assert row(text, "training: time over that of their steps") == [f"0.98 ({few})"]


def test_cells_of_the_worst_run():
    def run(first: float, second: float) -> list[dict]:
        case = {"mode": "cells", "work": "forward"}
        return [
            record(OTHER_CELLS[0], 2, 9.0, **case, ratio=first),
            record(OTHER_CELLS[1], 2, 9.0, **case, ratio=second),
            record(OTHER_CELLS[0], 2, 9.0, mode="cells", work="training", ratio=1.5),
        ]

    text = summary(merge([run(1.2, 1.1), run(1.3, 1.6), run(1.2, 1.1)]))
    assert row(text, "forward: time over that of the plain cell") == [
        f"1.30 to 1.60 ({OTHER_CELLS[1]})"
    ]
    assert row(text, "training: time over that of the plain cell") == [f"1.50 ({OTHER_CELLS[0]})"]


def test_no_results_no_summary():
    assert summary([]) == ""
