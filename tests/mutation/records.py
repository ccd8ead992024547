"""Results, one line of JSON for each mutant, and the report on them."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

GOALS = {"core": 0.92, "python": 0.85}  # the shares that shall be killed


@dataclass(frozen=True)
class Record:
    """What became of one mutant."""

    area: str
    seed: int
    number: int  # in the order of the seed
    path: str
    line: int
    operator: str
    before: str
    after: str
    result: (
        str  # killed, survived; or uncounted: refused by the compiler, same object code, unclear
    )
    by: str = ""  # the test that failed, or hung
    seconds: float = 0
    commit: str = ""
    cpu: float = 0  # seconds of processor time; `seconds` are those of a clock

    @property
    def counts(self) -> bool:
        return self.result in ("killed", "survived")

    @property
    def folder(self) -> str:
        return Path(self.path).parent.as_posix().removeprefix("src/")


def read(path: Path) -> list[Record]:
    """Return the results of earlier runs; the last line may have been cut off."""
    records: list[Record] = []
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(Record(**json.loads(line)))
        except ValueError:
            if number < len(lines):
                raise ValueError(f"{path}:{number} is no line of JSON") from None
            path.write_text("".join(f"{whole}\n" for whole in lines[:-1]), "utf-8")
    return records


def append(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(record)) + "\n")


def write(path: Path, everything: Iterable[Record]) -> None:
    """Replace the results; a run that is killed meanwhile leaves the old ones."""
    new = path.with_suffix(".new")
    new.write_text("".join(json.dumps(asdict(record)) + "\n" for record in everything), "utf-8")
    new.replace(path)


def one_line(text: str, longest: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def shares(records: Iterable[Record], goal: float | None, name: str) -> str:
    counted = [record for record in records if record.counts]
    killed = sum(record.result == "killed" for record in counted)
    share = f"{100 * killed / len(counted):.0f} %" if counted else ""
    wanted = f"{100 * goal:.0f} %" if goal else ""
    return f"| {name} | {len(counted)} | {killed} | {share} | {wanted} |"


def report(records: list[Record]) -> str:
    """Return the shares that were killed, by area and folder, and a list of the others."""
    lines = ["| area | mutants | killed | share | goal |", "|---|---|---|---|---|"]
    for area in sorted({record.area for record in records}):
        own = [record for record in records if record.area == area]
        lines.append(shares(own, GOALS[area], f"**{area}**"))
        for folder in sorted({record.folder for record in own if record.counts}):
            inner = [record for record in own if record.folder == folder]
            lines.append(shares(inner, None, folder))
    survivors = [record for record in records if record.result == "survived"]
    lines += ["", f"Survivors: {len(survivors)}"]
    for record in sorted(survivors, key=lambda r: (r.path, r.line)):
        change = f"{one_line(record.before)!r} -> {one_line(record.after)!r}"
        lines.append(f"{record.path}:{record.line}: {record.operator}: {change}")
    return "\n".join(lines)
