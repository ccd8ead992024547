"""`python -m tests.interop.makers [FOLDER]` makes the sample files anew, with the real programs.

A further format has a module with a function `samples` here, and a folder in `samples/`.
"""

import os
import sys
from pathlib import Path

from . import audio_files, torch_files
from .sample import SAMPLES, write_index

MAKERS = (torch_files, audio_files)


def main(folder: Path) -> None:
    """Write all files and the index."""
    write_index(folder, [sample.make(folder) for maker in MAKERS for sample in maker.samples()])


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # TorchScript writes constants in a set's order
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.interop.makers", *sys.argv[1:]])
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES)
