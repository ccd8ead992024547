"""The command line: `python -m tests.mutation run core|python N`, `again` and `report`."""

import argparse
import random
import time
from dataclasses import replace
from pathlib import Path

from tests.mutation import records
from tests.mutation.changes import Change
from tests.mutation.places import AREAS, changes_of_area, chosen_tests
from tests.mutation.records import Record
from tests.mutation.tree import Refused, Same, Tree
from tests.support.paths import ROOT

FOLDER = ROOT / "build" / "mutation"
RESULTS = FOLDER / "results.jsonl"

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
        begun = time.monotonic()
        result, by = try_mutant(tree, path, change.applied(text))
        parts = change.operator, change.before, change.after
        seconds, commit = round(time.monotonic() - begun, 1), tree.commit
        record = Record(area, seed, number, path, line, *parts, result, by, seconds, commit)
        records.append(results, record)
        new.append(record)
        edit = f"{records.one_line(change.before)!r} -> {records.one_line(change.after)!r}"
        print(f"{seconds:6.1f} s  {result:9} {path}:{line}: {edit}  {by}", flush=True)
    return new


def again(tree: Tree, results: Path = RESULTS) -> None:
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
        result, by = try_mutant(tree, path, change.applied(text))
        everything[index] = replace(record, result=result, by=by, commit=tree.commit)
        records.write(results, everything)
        print(f"{result:9} {path}:{record.line}  {by}", flush=True)


def try_mutant(tree: Tree, path: str, text: str) -> tuple[str, str]:
    """Return what became of a mutant, and the test that failed.

    It is unclear where that test fails without the change, too.
    """
    tests = chosen_tests(path)
    try:
        (tree.folder / path).write_text(text, "utf-8")
        tree.build(path)
        killer = tree.first_failure(tests.first)
        if killer is None and tests.rest:
            killer = tree.first_failure(tests.rest)
    except Refused:
        return "refused", ""
    except Same:
        return "same", ""
    finally:
        tree.restore(path)
    if killer is None:
        return "survived", ""
    if not tree.passes_unchanged(killer):
        return "unclear", killer
    return "killed", killer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="try more mutants")
    runs.add_argument("area", choices=AREAS)
    runs.add_argument("number", type=int)
    runs.add_argument("--seed", type=int, default=1)
    commands.add_parser("again", help="try those that no test found with the tests as they are now")
    commands.add_parser("report", help="print the shares, and the mutants that no test found")
    arguments = parser.parse_args()
    tree = Tree(FOLDER / "tree")
    if arguments.command != "report":
        tree.prepare()
    if arguments.command == "again":
        again(tree)
    if arguments.command == "run":
        run(tree, arguments.area, arguments.number, arguments.seed)
    print(records.report(records.read(RESULTS)))


if __name__ == "__main__":
    main()
