"""The local ends of lanes: `Source` reads a descriptor and sends it, `Sink` writes what comes.

    descriptor ─▶ Source ─ parts, as many as the window allows ─▶ Sink ─▶ descriptor
                    ▲                                              │
                    └──────────── PAID: so much was written ───────┘

A window says how many bytes of one lane may be on their way. When a sink has written an eighth of
the window, it tells the source so (`PAID`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Protocol

from mpkernel.dask_backend.parts import MAX_PART_BYTES, WINDOWS, Lane, PartKind
from mpkernel.errors import ProtocolError

__all__ = ["Carrier", "Sink", "Source"]

_PAY_EVERY = 8


class Carrier(Protocol):
    """What a lane needs of the connection that carries it."""

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent that sources must not read more."""

    def put(self, lane: Lane, kind: PartKind, number: int, data: bytes = b"") -> None:
        """Send a part."""


class _LocalEnd:
    """A descriptor, which does not block from now on, at an end of a lane.

    Args:
        carrier: what carries the lane.
        loop: watches the descriptor.
        lane: the lane.
        fd: the descriptor. Its owner closes it, after `close`.
        on_end: called when the lane has come to its end.
    """

    def __init__(
        self,
        carrier: Carrier,
        loop: asyncio.AbstractEventLoop,
        lane: Lane,
        fd: int,
        on_end: Callable[[], None],
    ) -> None:
        self._carrier = carrier
        self._loop = loop
        self._lane = lane
        self._fd = fd
        self._on_end = on_end
        self._is_watched = False
        self._is_over = False
        os.set_blocking(fd, False)


class Source(_LocalEnd):
    """A descriptor whose bytes are sent on a lane. Made by `Connection.carry`."""

    def __init__(
        self,
        carrier: Carrier,
        loop: asyncio.AbstractEventLoop,
        lane: Lane,
        fd: int,
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(carrier, loop, lane, fd, on_end)
        self._window = WINDOWS[lane]
        self.go_on()

    def go_on(self) -> None:
        """Read again, if reading had stopped because the connection or the window was full."""
        if not (self._is_over or self._is_watched or self._window <= 0 or self._carrier.is_full):
            self._is_watched = True
            self._loop.add_reader(self._fd, self._on_readable)

    def paid(self, count: int) -> None:
        """The receiver has taken so many bytes.

        Raises:
            ProtocolError: these are more than were sent.
        """
        self._window += count
        if self._window > WINDOWS[self._lane]:
            raise ProtocolError(f"more was taken on the lane {self._lane.name} than was sent")
        self.go_on()

    def close(self) -> None:
        """Read no more. Idempotent."""
        self._is_over = True
        self._stop_watching()

    def _on_readable(self) -> None:
        try:
            data = os.read(self._fd, min(MAX_PART_BYTES, self._window))
        except BlockingIOError:
            return
        except OSError:  # ECONNRESET: the process is gone
            data = b""
        if not data:
            self._end()
            return
        self._window -= len(data)
        self._carrier.put(self._lane, PartKind.DATA, len(data), data)
        if self._window <= 0 or self._carrier.is_full:
            self._stop_watching()

    def _end(self) -> None:
        self.close()
        self._carrier.put(self._lane, PartKind.END, 0)
        self._on_end()

    def _stop_watching(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._loop.remove_reader(self._fd)


class Sink(_LocalEnd):
    """A descriptor to which the bytes of a lane are written. Made by `Connection.deliver`."""

    def __init__(
        self,
        carrier: Carrier,
        loop: asyncio.AbstractEventLoop,
        lane: Lane,
        fd: int,
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(carrier, loop, lane, fd, on_end)
        self._kept = bytearray()
        self._unpaid = 0
        self._has_ended = False

    def write(self, data: memoryview) -> None:
        """Write these bytes, or keep them until the descriptor takes them.

        Raises:
            ProtocolError: there are more than the window allows.
        """
        if self._is_over or self._has_ended:
            return
        if len(self._kept) + self._unpaid + len(data) > WINDOWS[self._lane]:
            raise ProtocolError(f"more came on the lane {self._lane.name} than its window allows")
        written = self._write(data) if not self._kept else 0
        if written < len(data):
            self._kept += data[written:]
            self._watch()
        self._pay(written)

    def ended(self) -> None:
        """The lane has come to its end: nothing more comes."""
        self._has_ended = True
        if not self._kept:
            self._end()

    def close(self) -> None:
        """Write no more. Idempotent."""
        self._is_over = True
        self._kept.clear()
        if self._is_watched:
            self._is_watched = False
            self._loop.remove_writer(self._fd)

    def _write(self, data: memoryview | bytearray) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:  # nobody reads it any more
            return len(data)

    def _pay(self, count: int) -> None:
        self._unpaid += count
        if self._unpaid and (self._unpaid * _PAY_EVERY >= WINDOWS[self._lane] or self._has_ended):
            self._carrier.put(self._lane, PartKind.PAID, self._unpaid)
            self._unpaid = 0

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            self._loop.add_writer(self._fd, self._on_writable)

    def _on_writable(self) -> None:
        written = self._write(self._kept)
        del self._kept[:written]
        self._pay(written)
        if not self._kept:
            self._is_watched = False
            self._loop.remove_writer(self._fd)
            if self._has_ended:
                self._end()

    def _end(self) -> None:
        if not self._is_over:
            self.close()
            self._on_end()
