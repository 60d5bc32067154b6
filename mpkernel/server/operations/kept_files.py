"""`read_kept`: reads what a server has written, perhaps of another version, perhaps damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from mpkernel.private_files import read_bounded

__all__ = ["read_kept"]

_T = TypeVar("_T")


def read_kept(path: Path, kind: type[_T], *, max_bytes: int) -> _T:
    """What a file of JSON says.

    Args:
        path: the file.
        kind: what it must be.
        max_bytes: how large it may be.

    Raises:
        OSError: it cannot be read, or it is too large.
        msgspec.DecodeError: it says something else.
    """
    content = read_bounded(path, max_bytes)
    try:
        return msgspec.json.decode(content, type=kind)
    except (RecursionError, UnicodeDecodeError) as error:  # it is nested too deeply, or no text
        raise msgspec.DecodeError(str(error)) from error
