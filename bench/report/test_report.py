"""Tables of the report on invented figures."""

import importlib
import json

import pytest

from bench.measure.shapes import GRID, STREAMS
from bench.report.__main__ import markdown
from bench.report.header import header
from bench.report.machine import machine_name
from bench.report.results import merge
from bench.report.tables import tables


def invented_run(command: str, commit: str, load: float) -> dict:
    """The data of a run without cases and limit."""
    run = {"versions": {}, "clstm": {}, "environment": {}, "threads": [1], "cpus": 1}
    run |= {"limit": None, "load": load, "rounds": 7, "command": command}
    machine = {"machine": "a CPU", "system": "Linux", "release": "6", "python_version": "3.12"}
    return {
        "run": run,
        "machine_info": machine,
        "commit_info": {"id": commit, "dirty": False},
        "datetime": "2026-01-01T00:00:00",
    }


def test_a_line_for_each_command_and_commit():
    command = "pytest a --rounds 7 --benchmark-json="
    runs = [invented_run(f"{command}{load}", "1234567890", load) for load in (0.25, 1.0)]
    runs += [invented_run("pytest b", "fedcba9876", 0.0)]
    *_, first, second = header(runs).splitlines()
    assert first == "- `pytest a`: 2 runs at 1234567, rounds 7, load 0.2, 1.0"
    assert second == "- `pytest b`: 1 run at fedcba9, rounds 7, load 0.0"


@pytest.mark.parametrize(
    ("brand", "name"),
    [
        ("AMD EPYC 9R14 96-Core Processor", "epyc-9r14-avx2-4-cpus"),
        ("Intel(R) Xeon(R) CPU E5-2670 v3 @ 2.30GHz", "xeon-e5-2670-v3-avx2-4-cpus"),
        ("12th Gen Intel(R) Core(TM) i7-1260P", "core-i7-1260p-avx2-4-cpus"),
    ],
)
def test_the_name_of_a_machine(brand, name):
    run = invented_run("pytest a", "1234567890", 0.0)
    run["machine_info"] |= {"cpu": {"brand_raw": brand, "count": 4}}
    run["run"] |= {"clstm": {"isa": "avx2"}, "cpus": 4}
    assert machine_name(run) == name


def test_the_report_names_its_plots():
    run = invented_run("pytest a", "1234567890", 0.0) | {"benchmarks": []}
    text = markdown([run], "mine")
    assert "](mine-ratios.png)" in text and "](mine-roofline.png)" in text


def stream_record(number: int, **figures) -> dict:
    """A stream's record in the JSON, at twice the limit in every way."""
    case = {"mode": "streams", "shape": list(STREAMS[number]), "threads": 1, "limit_ns": 50.0}
    for name in ("process", "step", "kept"):
        case |= {f"{name}_ns": 100.0, f"{name}_to_limit": 2.0}
    return {"extra_info": case | figures}


def stream_cells(*records: dict) -> list[list[str]]:
    """Head and rows of the table of streams."""
    text = tables(merge([list(records)])).partition("## Streams")[2]
    head, _, *rows = (line for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, *rows)]


def test_streams_beside_the_limit_and_python():
    head, first, second = stream_cells(stream_record(0, python_us=1.25), stream_record(1))
    assert head[:6] == ["rows", "layers", "H", "limit ns", "block ns", "block / limit"]
    assert first == ["1", "1", "8", "50.0", *["100.0", "2.00"] * 3, "1.25"]
    assert second == ["1", "1", "12", "50.0", *["100.0", "2.00"] * 3, ""]


def test_no_column_of_python_without_figures():
    head, row = stream_cells(stream_record(0))
    assert head[-1] == "kept / limit" and len(row) == len(head) == 10


def test_streams_beside_rtneural():
    figures = {"rtneural_ns": 120.0, "rtneural_to_process": 1.2, "rtneural_to_step": 1.1}
    head, row = stream_cells(stream_record(0, **figures, rtneural_error=1e-6))
    assert head[-4:] == ["RTNeural ns", "RTNeural / block", "RTNeural / step", "RTNeural's error"]
    assert row[-4:] == ["120.0", "1.20", "1.10", "0.00000100"]


def test_module_beside_pytorch():
    case = {"mode": "module", "work": "training", "shape": list(GRID[0]), "threads": 2}
    case |= {"module_us": 50.0, "torch_us": 75.0, "ratio": 1.5, "clstm_us": 40.0}
    text = tables(merge([[{"extra_info": case}]]))
    row = text.partition("## clstm in PyTorch")[2].splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [str(GRID[0]), "2", "training", "50.0", "75.0", "1.50", "40.0"]


def test_plots_of_a_run(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="install bench/requirements.txt to draw")
    peers = {"torch": {"us": 20.0, "ratio": 2.0}, "onnxruntime": {"us": 15.0, "ratio": 1.5}}
    records = [
        {"extra_info": {"mode": "forward", "shape": list(shape), "threads": n, "us": 10.0}}
        for shape in GRID[:3]
        for n in (1, 2)
    ]
    for record in records:
        record["extra_info"]["peers"] = peers
    run = invented_run("pytest a", "1234567890", 0.0) | {"benchmarks": records}
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run))
    options = [str(path), "--folder", str(tmp_path), "--machine", "mine"]
    monkeypatch.setattr("sys.argv", ["bench.report.plots", *options])
    importlib.import_module("bench.report.plots").main()
    assert {p.name for p in tmp_path.glob("*.png")} == {"mine-ratios.png", "mine-overview.png"}


def test_every_drawn_engine_has_a_colour():
    """plot_style asserts it at its import."""
    pytest.importorskip("matplotlib", reason="install bench/requirements.txt to draw")
    importlib.import_module("bench.report.plots")
