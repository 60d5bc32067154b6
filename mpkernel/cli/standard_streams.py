"""Standard input, output and error of a command: closed ones, and an output that takes no more."""

from __future__ import annotations

import errno
import os
import sys

__all__ = ["drop_output", "is_full", "open_closed_streams"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_NAMES = ("stdin", "stdout", "stderr")


def open_closed_streams() -> None:
    """Open `/dev/null` where the command was started without a standard stream (`>&-`, some
    supervisors). Otherwise Python has None in its place, and the next file or socket that is opened
    would get its descriptor, and whatever is printed."""
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 (kept)


def is_full(error: OSError) -> bool:
    """Whether an error says that standard output has no room: it names no file."""
    return error.filename is None and error.errno in _FULL


def drop_output() -> None:
    """Write nothing more to standard output, also not what is buffered."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
