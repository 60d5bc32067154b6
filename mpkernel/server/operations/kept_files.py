"""`read_kept`: reads a file that a server has written. The server may have had another version of
mpkernel, and the file may be damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from mpkernel.private_files import read_bounded

__all__ = ["read_kept"]

_T = TypeVar("_T")


def read_kept(path: Path, decoder: msgspec.json.Decoder[_T], *, max_bytes: int) -> _T:
    """Read a JSON file.

    Args:
        path: the file.
        decoder: of the type that its content must have.
        max_bytes: how large it may be.

    Raises:
        OSError: it cannot be read, or it is too large.
        msgspec.DecodeError: its content is not of this type.
    """
    content = read_bounded(path, max_bytes)
    try:
        return decoder.decode(content)
    except (RecursionError, UnicodeDecodeError) as error:  # nested too deeply, or not UTF-8
        raise msgspec.DecodeError(str(error)) from error
