"""`FarLink`: the server's link to a far host: a `PipeLink` over the host's two connections. What is
sent before these are there is kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection

from mpkernel.errors import HostUnresponsive
from mpkernel.server.links.link import LinkEvents
from mpkernel.server.links.pipe_link import PipeLink
from mpkernel.wire.frames import HEADER_BYTES, Channel, Frame, encode_header

__all__ = ["FarLink"]


class FarLink:
    """See `Link`.

    Args:
        name: the app's name, for messages.
        loop, events, backlog_bytes, max_frame_bytes: see `Process.connect`.
    """

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        events: LinkEvents,
        *,
        backlog_bytes: int,
        max_frame_bytes: int,
    ) -> None:
        self._name = name
        self._loop = loop
        self._events = events
        self._backlog_bytes = backlog_bytes
        self._max_frame_bytes = max_frame_bytes
        self._link: PipeLink | None = None
        self._lock = threading.Lock()  # guards the attributes below, and changes of `_link`
        self._kept: list[tuple[Channel, int, bytes]] = []
        self._kept_bytes = 0
        self._closed = False

    @property
    def backlog_bytes(self) -> int:
        """See `Link.backlog_bytes`."""
        return self._kept_bytes if self._link is None else self._link.backlog_bytes

    @property
    def sent_count(self) -> int:
        """See `Link.sent_count`."""
        return len(self._kept) if self._link is None else self._link.sent_count

    @property
    def whole_bytes(self) -> int:
        """See `Link.whole_bytes`."""
        return 0 if self._link is None else self._link.whole_bytes

    def send(
        self, channel: Channel, session: int, payload: bytes, *, refusable: bool = True
    ) -> None:
        """See `Link.send`.

        Raises:
            HostUnresponsive: the backlog is full; nothing of the frame was sent.
            ProtocolError: the frame is over the maximum size.
        """
        if self._link is None and self._keep(channel, session, payload, refusable=refusable):
            return
        assert self._link is not None
        self._link.send(channel, session, payload, refusable=refusable)

    def hold(self) -> None:
        """See `Link.hold`."""
        if self._link is not None:
            self._link.hold()

    def drain(self) -> bool:
        """See `Link.drain`."""
        return self._link is None or self._link.drain()

    def close(self) -> None:
        """See `Link.close`."""
        self.close_sending()
        if self._link is not None:
            self._link.close()

    def close_sending(self) -> None:
        """See `Link.close_sending`."""
        with self._lock:
            self._closed = True
            self._kept.clear()
            self._kept_bytes = 0
        if self._link is not None:
            self._link.close_sending()

    def hear(self, payloads: Sequence[bytes]) -> None:
        """Hand over messages about the process that the server's end makes itself, as if its host
        had sent them. On the loop's thread."""
        if not self._closed:
            self._events.on_frames([Frame(Channel.MANAGEMENT, 0, one) for one in payloads])

    def connected(self, control: Connection, stream: Connection) -> None:
        """The connections are open: send what was kept, and take what comes. On the loop's thread.

        Raises:
            OSError: the loop cannot watch them.
        """
        if self._closed:
            return
        link = PipeLink(
            self._name,
            control,
            stream,
            self._loop,
            self._events,
            backlog_bytes=self._backlog_bytes,
            max_frame_bytes=self._max_frame_bytes,
        )
        with self._lock:
            for channel, session, payload in self._kept:
                link.send(channel, session, payload, refusable=False)
            self._kept.clear()
            self._kept_bytes = 0
            self._link = link

    def _keep(self, channel: Channel, session: int, payload: bytes, *, refusable: bool) -> bool:
        """Keep a frame until there is a link, or drop it when this is closed. Returns False when
        there is a link by now, which must send it."""
        encode_header(channel, session, len(payload), max_frame_bytes=self._max_frame_bytes)
        size = HEADER_BYTES + len(payload)
        with self._lock:
            if self._link is not None:
                return False
            if self._closed:
                return True
            may_refuse = refusable and channel is not Channel.MANAGEMENT
            if may_refuse and self._kept and self._kept_bytes + size > self._backlog_bytes:
                raise HostUnresponsive(
                    f"no worker has been found for {self._name}: {self._kept_bytes} bytes wait for"
                    " its process",
                    remedy="wait until it runs",
                )
            self._kept.append((channel, session, payload))
            self._kept_bytes += size
            return True
