"""Why a file cannot be had, in words: `why_unreachable` asks the system, `in_words` has its error.

`os.path.exists` says False where nothing is, and also where this user may not look: in a folder of
somebody else, for example. An error must not call the second case the first.
"""

from __future__ import annotations

import os

__all__ = ["HOW_TO_REACH", "in_words", "why_unreachable"]

HOW_TO_REACH = "this user must have the right to enter its folders (`namei -l PATH` shows them)"


def why_unreachable(path: str | os.PathLike[str]) -> str | None:
    """The system's reason, such as "Permission denied". None if the path can be reached, or if
    nothing is there."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return error.strerror
    return None


def in_words(error: OSError) -> str:
    """An error of the system without its number: "/srv/data: Permission denied"."""
    reason = error.strerror or str(error)
    return f"{os.fspath(error.filename)}: {reason}" if error.filename else reason
