"""Functions for the sockets under the Pipes of multiprocessing."""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

__all__ = ["socket_of", "unsent_in", "waiting_in"]


@contextmanager
def socket_of(connection: Connection) -> Iterator[socket.socket]:
    """A socket object for the same end as `connection`, which stays open and blocking. It needs no
    descriptor of its own. Nobody may close the connection inside the `with`.

    Use it only for ends that are to block. If the program has called `socket.setdefaulttimeout`,
    making the object switches the end to non-blocking, for everybody who has it.
    """
    end = socket.socket(fileno=connection.fileno())
    try:
        end.setblocking(True)
        yield end
    finally:
        end.detach()


def waiting_in(fd: int) -> int:
    """How many bytes can be read from a descriptor now."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


def unsent_in(fd: int) -> int:
    """How many bytes were written to a socket and have not reached the other end's system yet. 0
    where the system does not tell."""
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0
