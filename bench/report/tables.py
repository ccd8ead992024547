"""Tables of the report, in Markdown; the terminal shows them at the end of a run, too."""

from bench.engines.registry import ENGINES, PEERS
from bench.measure.shapes import (
    BIDIRECTIONAL,
    FEW,
    FEW_ROWS,
    GRID,
    HALF_FULL,
    HANDOVERS,
    ODD,
    OTHER_CELLS,
    PROJECTED,
    RAGGED,
    SMALL,
    STEPS,
    STREAMS,
)
from bench.report.markdown_table import number, table
from bench.report.notes import (
    BUSY_NOTE,
    CELLS_NOTE,
    HANDOVER_NOTE,
    LENGTHS_NOTE,
    MODULE_NOTE,
    RAGGED_NOTE,
    SHARING_NOTE,
    SMALL_NOTE,
    STEP_NOTE,
    STREAMS_NOTE,
    SUMMARY_NOTE,
)
from bench.report.results import Result, choose
from bench.report.summary import step_ns, summary


def _peer_columns(results: list[Result]) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the columns of every peer that took part."""
    present = [name for name in PEERS if any(name in result.peers for result in results)]
    repeated = any(len(result.records) > 1 for result in results)
    head = []
    for name in present:
        head += [f"{ENGINES[name].title} us", "ratio", *(["worst"] if repeated else [])]
    rows = []
    for result in results:
        row = []
        for name in present:
            if name in result.peers:
                ratios = [result.ratio(name), *([min(result.ratios(name))] if repeated else [])]
                row += [number(result.peer_seconds(name) * 1e6)]
                row += [number(ratio, 2) for ratio in ratios]
            else:
                row += [""] * (3 if repeated else 2)
        rows.append(row)
    return head, rows


def _engine_cells(results: list[Result]) -> tuple[list[str], list[list[str]]]:
    """clstm, the limit and every peer with results; a row per shape and number of threads."""
    peer_head, peer_rows = _peer_columns(results)
    head = ["T,B,I,H,L", "threads", "clstm us", "GFLOP/s", "% of limit", *peer_head]
    rows = []
    for result, cells in zip(results, peer_rows, strict=True):
        row = [str(result.shape), str(result.threads), number(result.seconds * 1e6)]
        row += [number(result.figure("gflops")), number(result.figure("percent_of_limit"), 0)]
        rows.append(row + cells)
    return head, rows


def _engine_table(results: list[Result]) -> str:
    return table(*_engine_cells(results))


def _step_table(results: list[Result]) -> str:
    """Times, and the memory of every engine."""
    head, rows = _engine_cells(results)
    present = [name for name in ENGINES if any(r.memory(name) is not None for r in results)]
    head += [f"{ENGINES[name].title} MB" for name in present]
    for result, row in zip(results, rows, strict=True):
        row += [number(result.memory(name)) for name in present]
    return f"{STEP_NOTE}\n\n{table(head, rows)}"


def _small_table(results: list[Result]) -> str:
    """Nanoseconds a step, how they compare with the limit, and the peers."""
    peer_head, peer_rows = _peer_columns(results)
    head = ["H", "clstm ns", "limit ns", "times limit", "over ns", *peer_head]
    rows = []
    for result, cells in zip(results, peer_rows, strict=True):
        row = [str(result.shape.hidden_size)]
        step = step_ns(result)
        if step is None:
            row += [number(result.seconds * 1e9 / result.shape.steps), "", "", ""]
        else:
            measured, limit = step
            row += [number(measured), number(limit), number(measured / limit, 2)]
            row += [number(measured - limit)]
        rows.append(row + cells)
    return f"{SMALL_NOTE}\n\n{table(head, rows)}"


def _ragged_table(results: list[Result]) -> str:
    return f"{RAGGED_NOTE}\n\n{_engine_table(results)}"


def _work_table(results: list[Result], columns: dict[str, tuple[str, int]]) -> str:
    """A row per shape, number of threads and work; `columns` maps a head to figure and digits."""
    rows = [
        [str(result.shape), str(result.threads), result.identity("work")]
        + [number(result.figure(name), digits) for name, digits in columns.values()]
        for result in results
    ]
    return table(["T,B,I,H,L", "threads", "", *columns], rows)


def _lengths_table(results: list[Result]) -> str:
    """Time with lengths over time without, and over the sum of the steps' costs."""
    columns = {
        "lengths us": ("ragged_us", 1),
        "full us": ("full_us", 1),
        "ratio": ("ratio", 2),
        "steps us": ("steps_us", 1),
        "to steps": ("ratio_to_steps", 2),
    }
    return f"{LENGTHS_NOTE}\n\n{_work_table(results, columns)}"


def _cells_table(results: list[Result]) -> str:
    """Time with another cell over time with the plain one."""
    columns = {"cell us": ("cell_us", 1), "plain us": ("plain_us", 1), "ratio": ("ratio", 2)}
    return f"{CELLS_NOTE}\n\n{_work_table(results, columns)}"


def _module_table(results: list[Result]) -> str:
    """Time with PyTorch's own LSTM over time with the module that clstm computes."""
    columns = {
        "in PyTorch us": ("module_us", 1),
        "PyTorch us": ("torch_us", 1),
        "ratio": ("ratio", 2),
        "clstm us": ("clstm_us", 1),
    }
    return f"{MODULE_NOTE}\n\n{_work_table(results, columns)}"


def _streams_table(results: list[Result]) -> str:
    """Nanoseconds a step in C, how they compare with the limit, and microseconds in Python."""
    columns = {"limit ns": ("limit_ns", 1)}
    for title, name in {"block": "process", "step": "step", "kept": "kept"}.items():
        columns |= {f"{title} ns": (f"{name}_ns", 1), f"{title} / limit": (f"{name}_to_limit", 2)}
    columns |= {"error": ("process_error", 8)}
    columns |= {"fast ns": ("fast_ns", 1), "fast error": ("fast_error", 8)}
    columns |= {"Python us": ("python_us", 2)}
    for title in ("RTNeural", "NeuralAudio"):
        name = title.lower()
        columns |= {f"{title} ns": (f"{name}_ns", 1)}
        columns |= {f"{title} / block": (f"{name}_to_process", 2)}
        columns |= {f"{title} / step": (f"{name}_to_step", 2)}
        columns |= {f"{title} / fast": (f"{name}_to_fast", 2)}
        columns |= {f"{title}'s error": (f"{name}_error", 8)}
    present = {
        head: (name, digits)
        for head, (name, digits) in columns.items()
        if any(result.figure(name) is not None for result in results)
    }
    rows = []
    for result in results:
        sizes = [result.shape.batch, result.shape.num_layers, result.shape.hidden_size]
        figures = [number(result.figure(name), digits) for name, digits in present.values()]
        rows.append([*map(str, sizes), *figures])
    return f"{STREAMS_NOTE}\n\n{table(['rows', 'layers', 'H', *present], rows)}"


def _busy_table(results: list[Result]) -> str:
    """Two threads over one in the same state, and the peers over clstm's two threads."""
    columns = {
        "1 thread us": ("one_us", 1),
        "2 threads us": ("two_us", 1),
        "ratio": ("ratio", 2),
        "90 %": ("late_ratio", 2),
        "0.1 s": ("all_ratio", 2),
        "to quiet": ("to_quiet", 2),
        "PyTorch": ("torch_ratio", 2),
        "ONNX Runtime": ("onnxruntime_ratio", 2),
    }
    return f"{BUSY_NOTE}\n\n{_work_table(results, columns)}"


def _handover_table(results: list[Result]) -> str:
    """Two threads over one, and what lengths save, by the time of a handover."""
    head = ["T,B,I,H,L", "", *(f"+{ns} ns" for ns in HANDOVERS)]
    head += [f"saved, +{ns} ns" for ns in HANDOVERS]
    rows = []
    for result in results:
        names = [f"ratio_{ns}" for ns in HANDOVERS] + [f"saved_{ns}" for ns in HANDOVERS]
        figures = [number(result.figure(name), 2) for name in names]
        rows.append([str(result.shape), result.identity("work"), *figures])
    return f"{HANDOVER_NOTE}\n\n{table(head, rows)}"


def _sharing_table(results: list[Result]) -> str:
    """The rate of several callers over that of one."""
    callers = (2, 4, 8)
    columns = {f"{n} callers": (f"rate_{n}", 2) for n in callers}
    columns |= {f"{n}, 1 thread each": (f"rate_{n}_alone", 2) for n in callers}
    return f"{SHARING_NOTE}\n\n{_work_table(results, columns)}"


def _stacked_table(results: list[Result]) -> str:
    head = ["B", "H", "one 4H product, us", "four products, us", "ratio"]
    rows = []
    for result in results:
        sizes = [str(result.identity("batch")), str(result.identity("hidden_size"))]
        times = [number(result.figure("stacked_us")), number(result.figure("separate_us"))]
        rows.append([*sizes, *times, number(result.figure("ratio"), 2)])
    return table(head, rows)


def tables(results: list[Result]) -> str:
    """The summary and all tables; those without a result are left out."""
    parts = [
        ("Forward", _engine_table, choose(results, GRID)),
        ("Forward, odd shapes", _engine_table, choose(results, ODD)),
        ("Forward, small models, one thread", _small_table, choose(results, SMALL)),
        ("Forward, small models of some rows, one thread", _small_table, choose(results, FEW)),
        ("Forward and backward", _engine_table, choose(results, GRID, "training")),
        ("Forward, two directions", _engine_table, choose(results, BIDIRECTIONAL)),
        (
            "Forward and backward, two directions",
            _engine_table,
            choose(results, BIDIRECTIONAL, "training"),
        ),
        ("Forward, projection", _engine_table, choose(results, PROJECTED)),
        (
            "Forward and backward, projection",
            _engine_table,
            choose(results, PROJECTED, "training"),
        ),
        ("Forward, ragged", _ragged_table, choose(results, RAGGED)),
        ("Forward and backward, ragged", _ragged_table, choose(results, RAGGED, "training")),
        ("Time saved by lengths", _lengths_table, choose(results, HALF_FULL + FEW_ROWS, "lengths")),
        ("Cells", _cells_table, choose(results, OTHER_CELLS, "cells")),
        ("clstm in PyTorch", _module_table, choose(results, GRID, "module")),
        ("Busy machines", _busy_table, [r for r in results if r.mode == "busy"]),
        ("Slow handovers", _handover_table, [r for r in results if r.mode == "handover"]),
        ("Several callers", _sharing_table, [r for r in results if r.mode == "sharing"]),
        ("Streams, one thread", _streams_table, choose(results, STREAMS, "streams")),
        ("Whole training step", _step_table, choose(results, STEPS, "step")),
        (
            "One stacked product against four",
            _stacked_table,
            [result for result in results if result.mode == "stacked"],
        ),
    ]
    sections = [f"## {title}\n\n{make(chosen)}" for title, make, chosen in parts if chosen]
    short = summary(results)
    if short:
        sections.insert(0, f"## Summary\n\n{SUMMARY_NOTE}\n\n{short}")
    return "\n\n".join(sections)
