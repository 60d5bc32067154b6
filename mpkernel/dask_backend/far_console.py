"""`FarConsole`: the local pipes that tell the server what a far host writes, and of its end.

outpost ══ Connection ══ sinks ─▶ stdout, stderr, faults ─▶ ConsoleRelay
                                  the end of `death_fd`  ─▶ DeathWatch
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from mpkernel.dask_backend.connection import Connection
from mpkernel.dask_backend.lanes import Sink
from mpkernel.dask_backend.parts import Lane

__all__ = ["FarConsole"]

_LANES = (Lane.STDOUT, Lane.STDERR, Lane.FAULTS)


class FarConsole:
    """On the loop's thread, except `close_for_server`.

    Attributes:
        stdout, stderr, faults, death_fd: see `Process`. The server closes them.

    Raises:
        OSError: no descriptor is left.
    """

    def __init__(self) -> None:
        opened: list[int] = []
        try:
            for _ in (*_LANES, "death"):
                opened += os.pipe()
        except OSError:
            for fd in opened:
                os.close(fd)
            raise
        self.stdout, self.stderr, self.faults, self.death_fd = opened[::2]
        self._written = dict(zip(_LANES, opened[1:6:2], strict=True))  # the write ends
        self._ends_with_host: int | None = opened[7]
        self._sinks: dict[Lane, Sink] = {}

    @property
    def has_ended(self) -> bool:
        """Whether all output has come and was written to the pipes."""
        return not self._written

    def deliver(self, connection: Connection, on_end: Callable[[], None]) -> None:
        """Write the output that comes over this connection to the pipes.

        Args:
            connection: to the outpost.
            on_end: called when one of the three has come to its end.
        """
        for lane, fd in self._written.items():
            ended = functools.partial(self._ended, lane, on_end)
            self._sinks[lane] = connection.deliver(lane, fd, ended)

    def lost(self) -> None:
        """The connection is lost: nothing more comes. What has come is still written."""
        for sink in list(self._sinks.values()):
            sink.ended()

    def tell_of_end(self) -> None:
        """Have `death_fd` become readable. Idempotent."""
        fd, self._ends_with_host = self._ends_with_host, None
        if fd is not None:
            os.close(fd)

    def close(self, *, with_loop: bool) -> None:
        """Write no more to the pipes, and make `death_fd` readable. Idempotent.

        Args:
            with_loop: whether the loop is there, which watches the pipes.
        """
        for lane in list(self._written):
            self._close(lane, with_loop=with_loop)
        self.tell_of_end()

    def close_for_server(self) -> None:
        """Close `stdout`, `stderr` and `faults`. From any thread, once."""
        for fd in (self.stdout, self.stderr, self.faults):
            os.close(fd)

    def _ended(self, lane: Lane, on_end: Callable[[], None]) -> None:
        self._close(lane, with_loop=True)
        on_end()

    def _close(self, lane: Lane, *, with_loop: bool) -> None:
        fd = self._written.pop(lane, None)
        if fd is None:
            return
        if with_loop and lane in self._sinks:
            self._sinks[lane].close()
        os.close(fd)
