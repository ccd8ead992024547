"""A sample file: what writes it, and what the program that made it computes."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
INDEX = "index.json"
EXPECTED = ".expected.npz"
_OLDEST = (1980, 1, 1, 0, 0, 0)  # of a zip archive


@dataclass(frozen=True, eq=False)
class Sample:
    """A file of another program.

    Attributes
    ----------
    name : str
        Folder and file, ``torch/classifier.pt``.
    program : str
        What wrote the file and computed y, with its version; or whose documented layout it has.
    write : callable
        Writes the file to a path.
    x, y : ndarray
        What the program takes and gives, in its own axes.
    stream : bool
        Whether each y_t depends on the steps up to it only.
    options : dict
        Arguments of `clstm.load`.
    error : float
        How far the results may differ; numbers of half precision have errors of their own.
    """

    name: str
    program: str
    write: Callable[[Path], Any]
    x: np.ndarray
    y: np.ndarray
    stream: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    error: float = 2e-5

    def make(self, folder: Path) -> dict[str, Any]:
        """Write the file, and x and y beside it; return its line of the index."""
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.write(path)
        if zipfile.is_zipfile(path):
            settle(path)
        expected = path.with_name(path.name + EXPECTED)
        np.savez(expected, x=self.x, y=self.y)
        settle(expected)
        line: dict[str, Any] = {"file": self.name, "program": self.program, "stream": self.stream}
        line |= {"options": self.options} if self.options else {}
        return line | ({"error": self.error} if self.error != 2e-5 else {})


def settle(path: Path) -> None:
    """Write a zip archive anew, without times, and without TorchScript's names of source files."""
    with zipfile.ZipFile(path) as archive:
        entries = [
            (entry.filename, entry.compress_type, archive.read(entry))
            for entry in archive.infolist()
            if not entry.filename.endswith(".debug_pkl")
        ]
    with zipfile.ZipFile(path, "w") as archive:
        for name, method, data in entries:
            archive.writestr(zipfile.ZipInfo(name, _OLDEST), data, method)


def write_index(folder: Path, lines: list[dict[str, Any]]) -> None:
    """Write the index, a line for each file."""
    text = ",\n".join(json.dumps(line) for line in lines)
    (folder / INDEX).write_text(f"[\n{text}\n]\n", encoding="utf-8")


def read_index(folder: Path = SAMPLES) -> list[dict[str, Any]]:
    """Return the lines of the index; none if there is no such file."""
    path = folder / INDEX
    lines: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else []
    return lines
