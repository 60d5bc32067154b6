"""`socket_of`: a socket object for a connection of multiprocessing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

__all__ = ["socket_of"]


@contextmanager
def socket_of(connection: Connection) -> Iterator[socket.socket]:
    """A socket object for the same end as `connection`, which stays open and blocking.

    Use it only for ends that are to block. If the program has called `socket.setdefaulttimeout`,
    making the object switches the end to non-blocking, for everybody who has it.
    """
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.setblocking(True)
        yield end
