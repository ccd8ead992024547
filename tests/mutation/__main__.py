"""The command line: `python -m tests.mutation run core|python N`, `again` and `report`."""

import argparse
import random
import resource
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

from tests.mutation import records
from tests.mutation.changes import Change
from tests.mutation.places import AREAS, changes_of_area, chosen_tests
from tests.mutation.records import Record
from tests.mutation.tree import Refused, Same, Tree
from tests.support.paths import ROOT

FOLDER = ROOT / "build" / "mutation"
RESULTS = FOLDER / "results.jsonl"

# Seconds of processor time that the tests of a mutant have. With 8 at most for building, a mutant
# takes no more than 25; `again` gives survivors more.
SHORT = 12.0
LONG = 300.0
KILLERS = 6

Place = tuple[str, Change]


def drawn(places: list[Place], area: str, seed: int, number: int) -> Place:
    """Return mutant `number` of a seed; no other one influences it."""
    return random.Random(f"{area} {seed} {number}").choice(places)


def run(tree: Tree, area: str, wanted: int, seed: int, results: Path = RESULTS) -> list[Record]:
    """Try mutants of a seed after those of earlier runs, until so many more count."""
    before = records.read(results)
    tried = {(r.path, r.line, r.before, r.after) for r in before}
    number = max((r.number for r in before if (r.area, r.seed) == (area, seed)), default=-1)
    places = list(changes_of_area(ROOT, area))
    new: list[Record] = []
    while sum(record.counts for record in new) < wanted:
        number += 1
        path, change = drawn(places, area, seed, number)
        text = (ROOT / path).read_text("utf-8")
        line = change.line(text)
        if (path, line, change.before, change.after) in tried:
            continue
        tried.add((path, line, change.before, change.after))
        begun, used = time.monotonic(), processor_time(tree)
        known = killers([*before, *new], path)
        result, by = try_mutant(tree, path, change.applied(text), known)
        parts = change.operator, change.before, change.after
        seconds = round(time.monotonic() - begun, 1)
        cpu = round(processor_time(tree) - used, 1)
        place = area, seed, number, path, line
        record = Record(*place, *parts, result, by, seconds, tree.commit, cpu)
        records.append(results, record)
        new.append(record)
        edit = f"{records.one_line(change.before)!r} -> {records.one_line(change.after)!r}"
        print(f"{seconds:6.1f} s ({cpu:4.1f})  {result:9} {path}:{line}: {edit}  {by}", flush=True)
    return new


def processor_time(tree: Tree) -> float:
    """Return the seconds that this process, compilers and tests have computed."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + tree.tested


def again(tree: Tree, seconds: float = LONG, results: Path = RESULTS) -> None:
    """Try the survivors of unchanged sources again: the tests may have become better."""
    everything = records.read(results)
    places = {area: list(changes_of_area(ROOT, area)) for area in AREAS}
    for index, record in enumerate(everything):
        if record.result != "survived":
            continue
        path, change = drawn(places[record.area], record.area, record.seed, record.number)
        text = (ROOT / path).read_text("utf-8")
        if (path, change.line(text), change.after) != (record.path, record.line, record.after):
            continue  # sources that have changed give a number another mutant
        known = killers(everything, path)
        result, by = try_mutant(tree, path, change.applied(text), known, seconds, thorough=True)
        everything[index] = replace(record, result=result, by=by, commit=tree.commit)
        # Another run may have added some since.
        everything += records.read(results)[len(everything) :]
        records.write(results, everything)
        print(f"{result:9} {path}:{record.line}  {by}", flush=True)


def killers(known: list[Record], path: str) -> list[str]:
    """Return the tests that killed mutants of a file, then of its folder, the latest first."""
    killed = [record for record in reversed(known) if record.result == "killed"]
    own = [record.by for record in killed if record.path == path]
    near = [record.by for record in killed if Path(record.path).parent == Path(path).parent]
    return [*dict.fromkeys([*own, *near])][:KILLERS]


def try_mutant(
    tree: Tree, path: str, text: str, known: list[str], seconds: float = SHORT,
    thorough: bool = False,
) -> tuple[str, str]:  # fmt: skip
    """Return what became of a mutant, and the test that failed.

    If that test also fails without the change, the result is "unclear". `seconds` is the processor
    time of all tests; `thorough` also compiles a survivor as it would be shipped.
    """
    tests = chosen_tests(path)
    killer = None
    engine = ""
    try:
        (tree.folder / path).write_text(text, "utf-8")
        tree.build(path)
        end = tree.tested + seconds
        for chosen, on in product((tests.first, tests.rest), tests.engines):
            if chosen and killer is None and tree.tested < end:
                left, engine = end - tree.tested, on
                killer = tree.first_failure(chosen, tests.packages, left, known, engine)
        if killer is None and thorough and tree.is_same_when_optimised(path):
            return "same", ""
    except Refused:
        return "refused", ""
    except Same:
        return "same", ""
    finally:
        tree.restore(path)
    if killer is None:
        return "survived", ""
    if not tree.passes_unchanged(killer, tests.packages, engine):
        return "unclear", killer
    return "killed", killer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--tree", type=Path, default=FOLDER / "tree", help="the copy's folder")
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="try more mutants")
    runs.add_argument("area", choices=AREAS)
    runs.add_argument("number", type=int)
    runs.add_argument("--seed", type=int, default=1)
    others = commands.add_parser("again", help="try survivors with the tests as they are now")
    others.add_argument("--seconds", type=float, default=LONG)
    commands.add_parser("report", help="print the shares, and the mutants that no test found")
    arguments = parser.parse_args()
    tree = Tree(arguments.tree)
    if arguments.command != "report":
        tree.prepare()
    if arguments.command == "again":
        again(tree, arguments.seconds)
    if arguments.command == "run":
        run(tree, arguments.area, arguments.number, arguments.seed)
    tree.close()
    print(records.report(records.read(RESULTS)))


if __name__ == "__main__":
    main()
