"""`Connection`: the connection between a server and the outpost of one of its hosts.

    local descriptors ─▶ Source ─┐                 ┌─▶ Sink ─▶ local descriptors
                                 ├─▶ Connection ══ │
    messages ────────────────────┘                 └─▶ messages

Both ends use it. It moves bytes, and knows nothing of what they mean. `parts` says how they share
the connection, and `lanes` has the sources and sinks. Nothing here blocks.

Heartbeat: an end that has sent nothing for a while says that it lives. An end from which nothing
comes for `silence_s` is lost, as it is when the connection breaks.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping

from mpkernel.aio.forks import release, withhold_from_forks
from mpkernel.dask_backend.lanes import Sink, Source
from mpkernel.dask_backend.messages import Alive, DownNews, UpNews, encode_news
from mpkernel.dask_backend.parts import (
    Lane,
    Part,
    PartDecoder,
    PartKind,
    encode_head,
)
from mpkernel.errors import ProtocolError

__all__ = ["FIRST_SILENCE_S", "Connection"]

logger = logging.getLogger(__name__)

_FULL_BYTES = 128 * 1024
"""With so much kept that the connection does not take, sources wait."""
_UNSENT_BYTES = 128 * 1024
_MOST_KEPT = 64 * 1024
"""With so many parts kept that the connection does not take, it is ended. What comes from sources
is far less: it is bounded by their windows."""
_MOST_IN_ONE_CALL = 64
_BEATS = 4
"""How often, in the time after which silence means loss, an end looks whether it has sent and heard
something."""
FIRST_SILENCE_S = 30.0
"""After so much silence, an end counts as lost that has not heard yet what the server's setting is.
No end is silent for longer, whatever the setting."""
_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if sys.platform == "linux" else None)


class Connection:
    """On the loop's thread, except `cut`.

    Args:
        sock: the connection. It belongs to this object from now on.
        loop: the running loop.
        silence_s: after so many seconds in which nothing came, the peer is lost.
        on_news: called with the bytes of each message.
        takers: by lane, a function that is called with bytes as they come, and uses them at once.
            Every other lane on which bytes come needs a `deliver`.
        on_lost: called once, with the reason, when the connection has ended. Everything that came
            before was handed over, or lies in the sinks.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        *,
        silence_s: float,
        on_news: Callable[[memoryview], None],
        on_lost: Callable[[str], None],
        takers: Mapping[Lane, Callable[[memoryview], None]] | None = None,
    ) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._loop = loop
        self._silence_s = silence_s
        self._on_news = on_news
        self._on_lost = on_lost
        self._takers = dict(takers or {})
        self._decoder = PartDecoder()
        self._sources: dict[Lane, Source] = {}
        self._sinks: dict[Lane, Sink] = {}
        self._kept: deque[bytes | memoryview] = deque()
        self._kept_bytes = 0
        self._is_waiting = False  # whether bytes wait until the connection takes more
        self._taken = asyncio.Event()  # set while nothing is kept
        self._taken.set()
        self._has_sent = self._has_heard = True
        self._silent_beats = 0
        self._is_closed = False
        sock.setblocking(False)
        _tune(sock)
        loop.add_reader(self._fd, self._on_readable)
        withhold_from_forks(self._fd)
        self._beat_later()

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended, or was closed."""
        return self._is_closed

    @property
    def silence_s(self) -> float:
        """After so many seconds in which nothing came, the peer is lost. It may be set: what was
        agreed upon with the peer counts from then on."""
        return self._silence_s

    @silence_s.setter
    def silence_s(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._silent_beats = 0
        if not self._is_closed:
            self._timer.cancel()
            self._beat_later()

    @property
    def _beat_s(self) -> float:
        return min(self._silence_s, FIRST_SILENCE_S) / _BEATS

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent that sources must not read more."""
        return self._kept_bytes >= _FULL_BYTES

    async def taken(self) -> None:
        """Wait until the system has taken all that was sent, or until the connection has ended."""
        await self._taken.wait()

    async def end_sending(self) -> None:
        """The same as `taken`; then tell the peer that nothing follows. Bytes that come are still
        read: if this end closed while bytes are on their way to it, the system could destroy those
        that it has sent."""
        await self.taken()
        if not self._is_closed:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                self._end(str(error))

    def carry(self, lane: Lane, fd: int, on_end: Callable[[], None] = lambda: None) -> Source:
        """Send what can be read from this descriptor, until its end.

        Args:
            lane: on which lane.
            fd: the descriptor; its owner closes it, after `Source.close`.
            on_end: called when the descriptor was read to its end, and all of it was sent.
        """
        source = Source(self, self._loop, lane, fd, on_end)
        self._sources[lane] = source
        return source

    def deliver(self, lane: Lane, fd: int, on_end: Callable[[], None] = lambda: None) -> Sink:
        """Write what comes to this descriptor.

        Args:
            lane: on which lane.
            fd: the descriptor; its owner closes it, after `Sink.close`.
            on_end: called when the lane has come to its end, and all of it was written.
        """
        sink = Sink(self, self._loop, lane, fd, on_end)
        self._sinks[lane] = sink
        return sink

    def tell(self, news: DownNews | UpNews) -> None:
        """Send a message."""
        data = encode_news(news)
        self.put(Lane.NEWS, PartKind.DATA, len(data), data)

    def put(self, lane: Lane, kind: PartKind, number: int, data: bytes = b"") -> None:
        """Send a part; see `encode_head`. What the connection does not take is kept."""
        if self._is_closed:
            return
        self._has_sent = True
        head = encode_head(lane, kind, number)
        if not self._kept:
            try:
                written = self._sock.sendmsg([head, data])
            except BlockingIOError:
                written = 0
            except OSError as error:
                self._end_soon(str(error))
                return
            if written == len(head) + len(data):
                return
        else:
            written = 0
        if len(self._kept) >= _MOST_KEPT:
            self._end_soon("it takes nothing of what it is sent")
            return
        rest = memoryview(head + data)[written:]
        self._kept.append(rest)
        self._kept_bytes += len(rest)
        self._taken.clear()
        if not self._is_waiting:
            self._is_waiting = True
            self._loop.add_writer(self._fd, self._on_writable)

    def close(self) -> None:
        """End the connection, at once. What is in the sinks stays there. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._timer.cancel()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        release(self._fd)
        self._kept.clear()
        self._kept_bytes = 0
        self._taken.set()
        for source in self._sources.values():
            source.close()
        self._sock.close()

    def cut(self) -> None:
        """Break the connection. From any thread; both ends then notice it."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has ended
            return

    def drop(self) -> None:
        """The loop is closed: end the connection without it."""
        self._is_closed = True
        release(self._fd)
        self._sock.close()

    def _on_readable(self) -> None:
        try:
            count = self._sock.recv_into(self._decoder.buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(str(error))
            return
        if not count:
            self._end("it has closed the connection")
            return
        self._has_heard = True
        try:
            for part in self._decoder.received(count):
                self._take(part)
                if self._is_closed:
                    return
        except ProtocolError as error:
            self._end(str(error))
        except Exception as error:
            # Otherwise the loop would log the error, and go on with a connection that has lost
            # bytes.
            logger.exception("what came over a connection could not be handled")
            self._end(f"what it sent could not be handled: {error!r}")

    def _take(self, part: Part) -> None:
        match part.kind:
            case PartKind.PAID:
                source = self._sources.get(part.lane)
                if source is None:
                    raise ProtocolError(f"nothing was sent on the lane {part.lane.name}")
                source.paid(part.paid)
            case PartKind.END:
                self._sink(part.lane).ended()
            case PartKind.DATA if part.lane is Lane.NEWS:
                self._on_news(part.data)
            case PartKind.DATA if part.lane in self._takers:
                self._takers[part.lane](part.data)
            case _:
                self._sink(part.lane).write(part.data)

    def _sink(self, lane: Lane) -> Sink:
        sink = self._sinks.get(lane)
        if sink is None:
            raise ProtocolError(f"nothing is taken on the lane {lane.name}")
        return sink

    def _on_writable(self) -> None:
        while self._kept:
            try:
                written = self._sock.sendmsg(list(itertools.islice(self._kept, _MOST_IN_ONE_CALL)))
            except BlockingIOError:
                return
            except OSError as error:
                self._end(str(error))
                return
            self._kept_bytes -= written
            while written and written >= len(self._kept[0]):
                written -= len(self._kept.popleft())
            if written:
                self._kept[0] = memoryview(self._kept[0])[written:]
        self._is_waiting = False
        self._taken.set()
        self._loop.remove_writer(self._fd)
        for source in list(self._sources.values()):
            source.go_on()

    def _beat(self) -> None:
        """Send a heartbeat, and look whether the peer is lost. After a pause of this process
        (SIGSTOP), this is called once, however long the pause was: so the peer does not count as
        lost for that."""
        if not self._has_sent:
            self.tell(Alive())
        self._silent_beats = 0 if self._has_heard else self._silent_beats + 1
        self._has_sent = self._has_heard = False
        if self._silent_beats * self._beat_s > self._silence_s:
            self._end(f"nothing came from it for {self._silence_s:g} s")
        if not self._is_closed:
            self._beat_later()

    def _beat_later(self) -> None:
        self._timer = self._loop.call_later(self._beat_s, self._beat)

    def _end_soon(self, why: str) -> None:
        """End the connection in the loop's next turn, so that a caller of `put` is not called back
        by its own call."""
        self._loop.call_soon(self._end, why)

    def _end(self, why: str) -> None:
        if not self._is_closed:
            self.close()
            self._on_lost(why)


def _tune(sock: socket.socket) -> None:
    """Set the socket so that small parts are sent at once, and few bytes wait in the system: there,
    no part can overtake another."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _NOTSENT_LOWAT is not None:
            sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, _UNSENT_BYTES)
