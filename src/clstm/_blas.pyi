from typing import Any

SGEMM: Any
DGEMM: Any
