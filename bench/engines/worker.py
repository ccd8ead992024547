"""One engine in a process of its own, which times itself on request.

    python -m bench.engines.worker ENGINE THREADS [CPUS]

It is bound to as many CPUs as threads, or to CPUS. It reads requests from stdin and answers each on
stdout, one line of JSON both ways: `prepare` builds a case, runs it once and stores its outputs;
`turn` times it; `busy` times it after NumPy products; `memory` measures the peak of a case, and
must be the first request. Between requests the process waits and uses no CPU.
"""

import json
import os
import sys

import numpy as np

from bench.engines.registry import build_case
from bench.measure.busy import after_products
from bench.measure.cpus import bind
from bench.measure.memory import peak_megabytes
from bench.measure.shapes import Shape

WARM_UP = Shape(2, 2, 8, 16, 1)
TRAINED_STEPS = 3  # an optimiser may allocate its averages only at the end of the first step


def training_megabytes(engine: str, shape: Shape, mode: str, threads: int) -> float:
    """Peak memory of building and training a model.

    It holds weights, input, tape, gradients, the optimiser's averages and a compiler's memory.
    """

    def train() -> None:
        case = build_case(engine, shape, mode, threads)
        with case.engine.scope():
            for _ in range(TRAINED_STEPS):
                case.engine.run()

    return peak_megabytes(lambda: build_case(engine, WARM_UP, mode, threads).outputs(), train)


def serve(engine: str, threads: int, requests, answers) -> None:
    """Answer requests until stdin ends."""
    case = None
    for line in requests:
        request = json.loads(line)
        answer = {}
        if request["do"] == "turn":
            answer = case.turn()
        elif request["do"] == "busy":
            answer = after_products(case)
        elif request["do"] == "memory":
            trained = (Shape(*request["shape"]), request["mode"], threads)
            answer = {"mb": training_megabytes(engine, *trained)}
        else:
            case = None  # frees the last case before the next one allocates
            case = build_case(engine, Shape(*request["shape"]), request["mode"], threads)
            np.savez(request["outputs"], **case.outputs())
            case.calibrate()
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    # Whatever libraries print goes to stderr: stdout carries the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    engine, threads = sys.argv[1], int(sys.argv[2])
    bind(int(sys.argv[3]) if len(sys.argv) > 3 else threads)  # before the library is imported
    serve(engine, threads, sys.stdin, answers)


if __name__ == "__main__":
    main()
