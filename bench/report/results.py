"""Results of one or several runs: JSON files of pytest-benchmark, merged case by case."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.engines.registry import PEERS
from bench.measure.shapes import Shape

IDENTITY = ("mode", "work", "shape", "threads", "batch", "hidden_size")


@dataclass(frozen=True)
class Result:
    """One case: a record per run, each a dict with `extra_info` as in the JSON."""

    records: tuple[dict, ...]

    def identity(self, name: str):
        """A field that identifies the case, equal in every run."""
        return self.records[0]["extra_info"][name]

    @property
    def mode(self) -> str:
        return self.identity("mode")

    @property
    def shape(self) -> Shape:
        return Shape(*self.identity("shape"))

    @property
    def threads(self) -> int:
        return self.identity("threads")

    @property
    def seconds(self) -> float:
        """clstm's time of a call, the median run."""
        return median(record["extra_info"]["us"] for record in self.records) / 1e6

    @property
    def peers(self) -> list[str]:
        """The peers that took part in every run."""
        found = [record["extra_info"].get("peers", {}) for record in self.records]
        return [name for name in PEERS if all(name in peers for peers in found)]

    def figure(self, name: str) -> float | None:
        """A figure's median over the runs; None if a run lacks it, as without a C compiler."""
        values = [record["extra_info"].get(name) for record in self.records]
        return None if None in values else median(values)

    def most(self, name: str) -> float | None:
        """A figure's maximum over the runs; None if a run lacks it."""
        values = [record["extra_info"].get(name) for record in self.records]
        return None if None in values else max(values)

    def memory(self, engine: str) -> float | None:
        """Peak megabytes of an engine, the median run; None where it was not measured."""
        values = [record["extra_info"].get("memory_mb", {}).get(engine) for record in self.records]
        return None if None in values else median(values)

    def ratio(self, *peers: str) -> float:
        """`ratios`, the median run."""
        return median(self.ratios(*peers))

    def peer_seconds(self, peer: str) -> float:
        """A peer's time of a call, the median run."""
        return median(r["extra_info"]["peers"][peer]["us"] for r in self.records) / 1e6

    def ratios(self, *peers: str) -> list[float]:
        """For every run, the time of the fastest of `peers` / clstm's time."""
        every = (record["extra_info"]["peers"] for record in self.records)
        return [min(figures[peer]["ratio"] for peer in peers) for figures in every]


def merge(runs: Iterable[list[dict]]) -> list[Result]:
    """The records of all runs, grouped by case."""
    cases: dict[str, list[dict]] = {}
    for records in runs:
        for record in records:
            figures = record["extra_info"]
            case = json.dumps([figures.get(name) for name in IDENTITY])
            cases.setdefault(case, []).append(record)
    return [Result(tuple(records)) for records in cases.values()]


def choose(results: list[Result], shapes: Iterable[Shape], mode: str = "forward") -> list[Result]:
    """The results of `mode` for those shapes."""
    wanted = set(shapes)
    return [result for result in results if result.mode == mode and result.shape in wanted]


def cpu(data: dict) -> str:
    """Name and number of a run's CPUs."""
    machine = data["machine_info"]
    details = machine.get("cpu", {})
    return f"{details.get('brand_raw', machine['machine'])}, {details.get('count', '?')} CPUs"


def best_limit(runs: list[dict]) -> dict | None:
    """The best peaks of all runs; None if no run measured any."""
    limits = [data["run"]["limit"] for data in runs if data["run"]["limit"]]
    if not limits:
        return None

    def best(rates: list[dict[str, float]], extreme: Callable = max) -> dict[str, float]:
        return {threads: extreme(rate[threads] for rate in rates) for threads in rates[0]}

    levels = [limit["gbytes_per_second"] for limit in limits]
    return {
        "isa": limits[0]["isa"],
        "gflops": best([limit["gflops"] for limit in limits]),
        "handover_ns": best([limit["handover_ns"] for limit in limits], min),
        "gbytes_per_second": {name: best([rates[name] for rates in levels]) for name in levels[0]},
    }


def read(paths: list[Path]) -> list[dict]:
    """The runs; SystemExit unless they are of the same libraries on the same machine."""
    runs = [json.loads(path.read_text()) for path in paths]

    def conditions(data: dict) -> dict:
        run = {name: data["run"][name] for name in ("versions", "clstm", "environment")}
        return {"cpu": cpu(data), **run}

    first = conditions(runs[0])
    for path, data in zip(paths, runs, strict=True):
        differing = [name for name, value in conditions(data).items() if value != first[name]]
        if differing:
            raise SystemExit(f"{path} and {paths[0]} differ in {', '.join(differing)}")
    return runs
