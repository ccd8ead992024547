"""Times clstm beside its peers, and prints and writes how much longer each peer takes.

    python -m bench.engines.peers --shapes 100,1,256,256,1 28,64,28,128,1 --threads 2 --mode forward

Each engine runs in a process of its own for each number of threads, which times itself. They take
turns, one at a time and in an order that rotates: a turn is the median of calls that fill at least
50 ms, a round is one turn of each, and the figure is the median over rounds of peer / clstm within
the same round: above 1, clstm is the faster one. Drifts of the machine cancel that way.

Before anything is timed, every peer's outputs are compared with clstm's. All processes are bound to
the same CPUs, one a thread. Where the system can't bind them, a turn that keeps more cores busy is
an error, because its figure is void. For mode "step" the peak memory is measured, too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType

import numpy as np

from bench.engines import registry
from bench.measure.shapes import GRID, MODES, SHAPE_FORM, THREADS, Shape, parse_shape

ROOT = Path(__file__).resolve().parents[2]
# Longer than the threads of any pool here spin after a call (OpenBLAS: about 0.1 s). Some libraries
# are slower without spinning, so it isn't switched off instead.
PAUSE_SECONDS = 0.25
ROUNDS = 7
CORES_TOLERANCE = 0.25


@dataclass(frozen=True)
class Comparison:
    """Seconds of a call, one figure per round, for every engine that took part."""

    shape: Shape
    mode: str
    threads: int
    rounds: dict[str, list[float]]

    def seconds(self, engine: str) -> float:
        """Median time of a call."""
        return median(self.rounds[engine])

    def ratios(self, peer: str) -> list[float]:
        """peer / clstm of every round."""
        return [a / b for a, b in zip(self.rounds[peer], self.rounds["clstm"], strict=True)]

    def as_dict(self) -> dict:
        """Plain data for a JSON file; times in microseconds."""
        peers = {
            name: {
                "us": self.seconds(name) * 1e6,
                "ratio": median(self.ratios(name)),
                "ratios": self.ratios(name),
            }
            for name in self.rounds
            if name != "clstm"
        }
        return {
            "shape": list(self.shape),
            "mode": self.mode,
            "threads": self.threads,
            "clstm_us": self.seconds("clstm") * 1e6,
            "peers": peers,
        }


class Worker:
    """The process of one engine on a number of threads, and the pipe to it.

    It is bound to `cpus` CPUs, or one a thread; `environment` is added to this process's.
    """

    def __init__(
        self,
        engine: str,
        threads: int,
        cpus: int | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.engine = engine
        numbers = [str(threads), str(cpus or threads)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.engines.worker", engine, *numbers],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request) -> dict:
        """Send a request and wait for its answer; RuntimeError if the process ended instead."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"the process of {self.engine} ended: see its messages above")
        return json.loads(answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


class Peers:
    """Workers for clstm and every installed peer, kept alive until the end of a `with` block."""

    def __init__(self) -> None:
        self.workers: dict[tuple[str, int], Worker] = {}

    def __enter__(self) -> "Peers":
        return self

    def __exit__(self, *_) -> None:
        for worker in self.workers.values():
            worker.close()

    def compare(
        self,
        shape: Shape,
        mode: str,
        threads: int,
        rounds: int = ROUNDS,
        chosen: list[str] | None = None,
    ) -> Comparison:
        """Check the peers of `mode` against clstm on `shape`, then time all of them in turns.

        The peers are the installed ones, or the engines `chosen`.
        """
        names = ["clstm", *(chosen or registry.installed_peers(mode, shape))]
        if len(names) > 1:
            self._prepare(names, shape, mode, threads)
        times = {name: [] for name in names if len(names) > 1}
        for number in range(rounds if times else 0):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                times[name].append(self._turn(name, threads))
        return Comparison(shape, mode, threads, times)

    def _prepare(self, names: list[str], shape: Shape, mode: str, threads: int) -> None:
        expected = None
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                if (name, threads) not in self.workers:
                    self.workers[name, threads] = Worker(name, threads)
                path = Path(folder) / f"{name}.npz"
                time.sleep(PAUSE_SECONDS)
                self.workers[name, threads].ask(
                    do="prepare", shape=list(shape), mode=mode, outputs=str(path)
                )
                with np.load(path) as outputs:
                    if expected is None:
                        expected = dict(outputs)
                    else:
                        registry.check(name, dict(outputs), expected)

    def _turn(self, name: str, threads: int) -> float:
        time.sleep(PAUSE_SECONDS)
        turn = self.workers[name, threads].ask(do="turn")
        if turn["cores"] > threads + CORES_TOLERANCE:
            raise RuntimeError(f"{name} kept {turn['cores']:.2f} cores busy on {threads} thread(s)")
        return turn["seconds"]


def peak_memory(shape: Shape, mode: str, threads: int) -> dict[str, float]:
    """Peak megabytes of clstm and every installed peer, each in a new process."""
    peaks = {}
    for name in ("clstm", *registry.installed_peers(mode, shape)):
        with closing(Worker(name, threads)) as worker:
            peaks[name] = worker.ask(do="memory", shape=list(shape), mode=mode)["mb"]
    return peaks


def table_row(comparison: Comparison) -> str:
    """One line for the terminal."""
    peers = "".join(
        f"  {registry.ENGINES[name].title} {comparison.seconds(name) * 1e6:.1f} us"
        f" ({median(comparison.ratios(name)):.2f}x)"
        for name in comparison.rounds
        if name != "clstm"
    )
    case = f"{comparison.shape!s:32}{comparison.mode:9}{comparison.threads:2}"
    return f"{case}  clstm {comparison.seconds('clstm') * 1e6:.1f} us{peers}"


def memory_row(peaks: dict[str, float]) -> str:
    """One line for the terminal."""
    megabytes = (f"{registry.ENGINES[name].title} {peak:.1f} MB" for name, peak in peaks.items())
    return " " * 45 + "  ".join(megabytes)


def parse_arguments() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(number) for number in text.split(",")]

    def modes(text: str) -> list[str]:
        chosen = text.split(",")
        if not set(chosen) <= set(MODES):
            raise ValueError(text)
        return chosen

    parser = argparse.ArgumentParser(
        "python -m bench.engines.peers", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--shapes",
        nargs="+",
        type=parse_shape,
        default=GRID,
        help=f"{SHAPE_FORM} ... (the grid)",
    )
    parser.add_argument("--threads", type=numbers, default=THREADS, help="default: 1,2")
    parser.add_argument("--mode", type=modes, default=MODES, help=f"default: {','.join(MODES)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--json", type=Path, default=Path("build/peers.json"))
    return parser.parse_args()


def measure(peers: Peers, shape: Shape, mode: str, threads: int, rounds: int) -> dict:
    """Print the figures of a case; return them as plain data."""
    comparison = peers.compare(shape, mode, threads, rounds)
    print(table_row(comparison), flush=True)
    figures = comparison.as_dict()
    if mode == "step":
        figures["memory_mb"] = peak_memory(shape, mode, threads)
        print(memory_row(figures["memory_mb"]), flush=True)
    return figures


def main() -> None:
    arguments = parse_arguments()
    if not registry.installed_peers():
        raise SystemExit("no peer is installed: see bench/requirements.txt")
    results = []
    with Peers() as peers:
        for mode in arguments.mode:
            for shape in arguments.shapes:
                for threads in arguments.threads:
                    results.append(measure(peers, shape, mode, threads, arguments.rounds))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    report = {"versions": registry.versions(), "results": results}
    arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
