"""`lines_of`: the lines of a file of the system's, as those below `/proc` and `/sys`."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["lines_of"]


def lines_of(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a file of the system's.

    The system writes the names of files and groups there as they are. So any bytes may stand in
    them but the end of a line: bytes that are no UTF-8 are given as `os.fsdecode` gives them.

    Raises:
        OSError: the file is missing, or this user may not read it.
    """
    lines = os.fsdecode(Path(path).read_bytes()).split("\n")
    return lines if lines[-1] else lines[:-1]
