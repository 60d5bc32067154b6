"""`Order`: what a server hands to the process that makes the environment of an app."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import IO

import msgspec

__all__ = ["Order", "read_order", "written"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Make the environment of an app, then run something in it.

    Attributes:
        app: absolute path of the app's file.
        overlay, left_out: see `Recipe`.
        env: the variables of uv.
        directory: where environments are kept.
        stream_fd: the descriptor on which the process tells the server what it does.
        command: what it becomes then; the first word stands for the environment's Python.
        wrapper: the command that starts that.
    """

    app: str
    overlay: Sequence[str]
    left_out: Sequence[str]
    env: dict[str, str]
    directory: str
    stream_fd: int
    command: Sequence[str]
    wrapper: Sequence[str]


_decoder = msgspec.json.Decoder(Order)


def written(order: Order) -> IO[bytes]:
    """A file without a name that holds the order, for `read_order` in another process. Variables
    may be secret, and more than a pipe holds.

    Raises:
        OSError: there is no room for it.
    """
    file = tempfile.TemporaryFile(prefix="mpkernel-", buffering=0)  # noqa: SIM115 (returned)
    try:
        file.write(msgspec.json.encode(order))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def read_order(fd: int) -> Order:
    """The order in the file of this descriptor, which is closed."""
    with open(fd, "rb") as file:
        return _decoder.decode(file.read())
