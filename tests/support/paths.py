"""Folders and files of the project that tests look into."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include" / "clstm.h"
PACKAGE = ROOT / "src" / "clstm"
CORE = PACKAGE / "core"
