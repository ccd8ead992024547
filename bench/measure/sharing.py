"""Calls a second of several threads, or several processes, that call clstm at the same time.

    python -m bench.measure.sharing T,B,I,H,L NUM_THREADS

is one of the processes: it prints a line when it is ready, computes from the next line of stdin on
for SECONDS, and prints how many calls it made.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path

import clstm
from bench.engines.arrays import sequence, weights
from bench.measure.shapes import Shape, parse_shape

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 0.5


def model_of(shape: Shape) -> clstm.LSTM:
    model = clstm.LSTM(shape.input_size, shape.hidden_size, num_layers=shape.num_layers, rng=0)
    model.load_state_dict(weights(shape))
    return model


def calls_within(model: clstm.LSTM, x, num_threads: int | None, seconds: float) -> int:
    calls, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        model(x, num_threads=num_threads)
        calls += 1
    return calls


def threads_rate(shape: Shape, callers: int, models: int, num_threads: int | None) -> float:
    """Calls a second of all threads together, on one or several models."""
    several, x = [model_of(shape) for _ in range(models)], sequence(shape)
    for model in several:
        model(x, num_threads=num_threads)
    begin, calls = threading.Barrier(callers), []

    def call(model: clstm.LSTM) -> None:
        begin.wait()
        calls.append(calls_within(model, x, num_threads, SECONDS))

    threads = [threading.Thread(target=call, args=(several[k % models],)) for k in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(calls) / SECONDS


def processes_rate(shape: Shape, processes: int, num_threads: int | None) -> float:
    """Calls a second of all processes together."""
    command = [sys.executable, "-m", "bench.measure.sharing", str(shape), str(num_threads or 0)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(processes)]
    for process in started:
        process.stdout.readline()
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    return sum(int(process.communicate()[0]) for process in started) / SECONDS


def main() -> None:
    shape, num_threads = parse_shape(sys.argv[1]), int(sys.argv[2]) or None
    model, x = model_of(shape), sequence(shape)
    model(x, num_threads=num_threads)
    print("ready", flush=True)
    sys.stdin.readline()
    print(calls_within(model, x, num_threads, SECONDS))


if __name__ == "__main__":
    main()
