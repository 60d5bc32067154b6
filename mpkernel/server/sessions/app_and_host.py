"""What a session needs of its app, and of the host that it is on."""

from __future__ import annotations

from typing import Protocol, TypeVar

from mpkernel.server.sessions.outbox import Sink
from mpkernel.server.supervision.tallies import Tallies
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec

__all__ = ["AppOfSession", "HostOfClient", "HostOfSession"]

_SessionT = TypeVar("_SessionT", contravariant=True)


class AppOfSession(Protocol[_SessionT]):
    """What a session needs of its app.

    Attributes:
        path: absolute path of the app's file.
        name: its short name, for messages.
        settings: the app's.
        tallies: what has happened to it.
    """

    path: str
    name: str
    settings: Settings
    tallies: Tallies

    def session_closed(self, session: _SessionT) -> None:
        """A session was closed, or has ended. Idempotent; from any thread."""

    def forget(self, session: _SessionT) -> None:
        """Forget a session that waited for a process and was closed. From any thread."""


class HostOfClient(Protocol):
    """The part of a host that a client may see, for the session on it.

    Attributes:
        pid: the process's id.
    """

    pid: int


class HostOfSession(Sink, Protocol[_SessionT]):
    """What a session needs of the host that it is on. From any thread, except `open`.

    Attributes:
        pid: its process id.
    """

    pid: int

    def open(self, session: _SessionT, kernel: KernelSpec) -> None:
        """Have the host start a kernel for the session. On the loop's thread."""

    def taken(self, number: int, count: int) -> None:
        """The client of the session of this number took so many bytes of messages."""
