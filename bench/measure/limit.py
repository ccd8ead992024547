"""The limit: the peaks of this machine, measured in the same run, and the least time of a shape.

A part of a shape takes at least `flop / peak` and at least `weight bytes / bandwidth`, with the
bandwidth of the cache level that holds the weights. A shared cache has two bandwidths, because a
full one can be slower. The limit of a shape is the larger of the two times, summed over its parts
(the products of `Shape.parts`, at every time step). It leaves out activations, the state's own
traffic, latency and synchronisation: large shapes can come close to it, small ones can't. If
CLSTM_ISA forces an instruction set, the peaks are measured with it, too.

`python -m bench.measure.limit` prints the figures and the limit of every shape.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from bench.measure import native
from bench.measure.cpus import bound
from bench.measure.shapes import GRID, MODES, THREADS, Shape

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
UNKNOWN_CACHES = {"L1": 32 << 10, "L2": 1 << 20, "L3": 16 << 20}
PRIVATE = ("L1", "L2")
FILLED = "L3 filled"
SECONDS = 0.02


@dataclass(frozen=True)
class Level:
    """A cache level (or the memory): what fits, and how fast all threads together read it.

    `capacity` is bytes per thread in private levels (L1, L2), bytes in all for shared ones, None
    for memory.
    """

    name: str
    capacity: int | None
    private: bool
    bandwidth: dict[int, float]

    def holds(self, size: int, threads: int) -> bool:
        """Whether `size` bytes, split evenly over the threads, stay in this level."""
        return self.capacity is None or (size / threads if self.private else size) <= self.capacity


@dataclass(frozen=True)
class Limit:
    """Peaks per number of threads.

    `flops` are operations a second, `handovers` the seconds until one thread sees a write of
    another (0 for a single thread), `levels` go from L1 to the memory. A shape's limit leaves the
    handover out, although two threads need it: 40 ns between CPUs that share a cache, else 160.
    """

    isa: str
    flops: dict[int, float]
    handovers: dict[int, float]
    levels: tuple[Level, ...]

    def home(self, size: int, threads: int) -> Level:
        """The nearest level that `size` bytes stay in, split over the threads."""
        return next(level for level in self.levels if level.holds(size, threads))

    def homes(self, shape: Shape, mode: str, threads: int) -> set[str]:
        """Names of the levels that a shape's weights are read from."""
        sizes = {shape.weight_bytes} | {part.weight_bytes for part in shape.parts(mode)}
        return {self.home(size, threads).name for size in sizes}

    def seconds(self, shape: Shape, mode: str, threads: int) -> float:
        """The least time `shape` needs in `mode`, one of MODES, on `threads` threads."""
        everything = self.home(shape.weight_bytes, threads).bandwidth[threads]
        total = 0.0
        for part in shape.parts(mode):
            # Weights read once a call: all others have evicted them since the last call.
            reread = part.repeats > 1
            home = self.home(part.weight_bytes, threads)
            bandwidth = home.bandwidth[threads] if reread else everything
            step = max(part.flop / self.flops[threads], part.weight_bytes / bandwidth)
            total += part.repeats * step
        return total

    def as_dict(self) -> dict:
        """Plain data for a JSON file."""

        def billions(rates: dict[int, float]) -> dict[str, float]:
            return {str(threads): rate / 1e9 for threads, rate in rates.items()}

        return {
            "isa": self.isa,
            "gflops": billions(self.flops),
            "handover_ns": {str(n): 1e9 * seconds for n, seconds in self.handovers.items()},
            "gbytes_per_second": {level.name: billions(level.bandwidth) for level in self.levels},
        }


def cache_sizes() -> dict[str, int]:
    """Bytes of L1 data, L2 and L3 cache as the system reports them, else common sizes."""
    sizes = {}
    for index in sorted(CACHES.glob("index*")):
        fields = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        level, kind, size = fields
        if kind != "Instruction":
            sizes[f"L{level}"] = int(size.rstrip("K")) << 10
    return sizes if "L1" in sizes else dict(UNKNOWN_CACHES)


def _test_sizes(sizes: dict[str, int], threads: int) -> dict[str, int]:
    """Bytes that each thread reads to measure a level: they fit it, but not the level before."""
    largest = max(sizes.values())
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    buffers = {}
    for name, size in sizes.items():
        if name in PRIVATE:
            buffers[name] = size // 2
        else:
            buffers[name] = min(4 * sizes.get("L2", size), size // (4 * threads))
            buffers[FILLED] = size // (2 * threads)
    buffers["memory"] = min(max(2 * largest, 64 << 20), physical // 8) // threads
    return {name: size // 512 * 512 for name, size in buffers.items()}


def _capacity(sizes: dict[str, int], name: str) -> int | None:
    """Bytes that a level holds; of a shared cache a quarter before it counts as filled."""
    if name in PRIVATE:
        return sizes[name]
    if name == FILLED:
        return sizes["L3"]
    return sizes[name] // 4 if name in sizes else None


class Meter:
    """The compiled program that measures; RuntimeError where there is no C compiler."""

    def __init__(self, folder: Path) -> None:
        self.program = native.build("measure/limit.c", folder / "limit")
        self.sizes = cache_sizes()

    def measure(
        self,
        thread_counts: tuple[int, ...] = THREADS,
        trials: int = 7,
        seconds: float = SECONDS,
        names: Container[str] | None = None,
    ) -> Limit:
        """The peaks of this machine (about ten seconds), or of some levels alone."""
        flops, handovers, reads = {}, {}, {}
        for threads in thread_counts:
            buffers = _test_sizes(self.sizes, threads)
            buffers = {name: size for name, size in buffers.items() if not names or name in names}
            isa = os.environ.get("CLSTM_ISA", "")
            arguments = [isa, trials, seconds, threads, *buffers.values()]
            with bound(threads):
                output = subprocess.check_output([self.program, *map(str, arguments)], text=True)
            result = json.loads(output)
            flops[threads], handovers[threads] = result["flops"], result["handover"]
            for name, rate in zip(buffers, result["reads"], strict=True):
                reads.setdefault(name, {})[threads] = rate
        levels = tuple(
            Level(name, _capacity(self.sizes, name), name in PRIVATE, rates)
            for name, rates in reads.items()
        )
        return Limit(result["isa"], flops, handovers, levels)

    def turn(self, all_levels: Limit, shape: Shape, mode: str, threads: int) -> Limit:
        """Measure for a moment, as one turn, the peaks that the limit of a shape depends on."""
        return self.measure((threads,), 2, 0.005, all_levels.homes(shape, mode, threads))


def main() -> None:
    if native.compiler() is None:
        raise SystemExit("no C compiler was found: install one, or name it in CC")
    with tempfile.TemporaryDirectory() as folder:
        limit = Meter(Path(folder)).measure()
    for threads in THREADS:
        print(f"{threads} thread(s), {limit.isa}: {limit.flops[threads] / 1e9:.0f} GFLOP/s")
        if threads > 1:
            print(f"  handover{limit.handovers[threads] * 1e9:8.1f} ns")
        for level in limit.levels:
            print(f"  {level.name:8}{level.bandwidth[threads] / 1e9:8.1f} GB/s")
    columns = [(mode, threads) for mode in MODES for threads in THREADS]
    print(f"{'T,B,I,H,L (us)':20}" + "".join(f"{mode + ' x' + str(n):>14}" for mode, n in columns))
    for shape in GRID:
        times = (limit.seconds(shape, mode, threads) * 1e6 for mode, threads in columns)
        print(f"{shape!s:20}" + "".join(f"{time:14.2f}" for time in times))


if __name__ == "__main__":
    main()
