"""One source, many consumers: a Pipe read on the event loop, or a queue drained by a thread.

An item that comes while there is no consumer is dropped. Consumers have no time limit: one that
takes long blocks the loop, or the thread, and with it all other consumers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from mpkernel.aio.consumers import Consumer, Consumers, Disposable
from mpkernel.aio.framing import DEFAULT_MAX_FRAME_BYTES, FrameError, FrameParser
from mpkernel.aio.loops import running_loop
from mpkernel.aio.readable import ReadableWatch

__all__ = ["ConnectionDistributor", "PipeEnd", "QueueDistributor"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

# At each wake-up this is read once, so that one full Pipe does not keep the loop from the others.
_READ_BYTES = 64 * 1024


class PipeEnd(Protocol):
    """The methods of a `multiprocessing.connection.Connection` that are needed here."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class ConnectionDistributor(Generic[T]):
    """Reads whole frames from a Pipe on the event loop and hands each, decoded, to all consumers.

    The connection is given away: nobody else may read from it, its descriptor is made non-blocking
    (so a write through the same end of a duplex Pipe can raise `BlockingIOError`), and stopping
    closes it. The distributor stops by itself, with a log entry, at the end of file, when the peer
    resets the Pipe, and at a length prefix that no frame can have. A frame that ``decode`` refuses
    is logged and dropped; the frames behind it are not affected.

    The idea is marimo's class of that name, and its pull request 9552 that pinned the loop. Reading
    is different: ``Connection.recv`` under a loop waits for the rest of a frame, and loses what it
    has read where the descriptor is non-blocking, as uvloop makes it.

    Args:
        connection: the end to read.
        decode: turns the bytes of a frame into what the consumers take.
        name: for logs.
        max_frame_bytes: a longer frame stops the distributor before it is read.
        on_stop: called once, after the connection is closed. Its argument is the error that was the
            reason, or None after `stop`, an end of file or a reset.
    """

    def __init__(
        self,
        connection: PipeEnd,
        decode: Callable[[bytes], T],
        *,
        name: str = "connection",
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
        on_stop: Callable[[Exception | None], object] | None = None,
    ) -> None:
        self.name = name
        self._connection = connection
        self._decode = decode
        self._on_stop = on_stop
        self._parser = FrameParser(max_frame_bytes)
        self._consumers: Consumers[T] = Consumers(name)
        self._descriptor = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: ReadableWatch | None = None
        self._stopped = False

    @property
    def running(self) -> bool:
        """Whether the distributor has been started and has not stopped."""
        return self._loop is not None and not self._stopped

    def add_consumer(self, consumer: Consumer[T], *, name: str | None = None) -> Disposable:
        """Hand every further frame to ``consumer`` too; call the result to end that. Any thread.

        Args:
            consumer: called on the loop. If it raises, that is logged, and the others still get the
                frame.
            name: for logs; None takes the function's own.
        """
        return self._consumers.add(consumer, name)

    def start(self) -> None:
        """Read from now on, on the running loop.

        Raises:
            RuntimeError: started before, or no loop runs in this thread.
            OSError: the connection is closed.
        """
        if self._loop is not None or self._stopped:
            raise RuntimeError(
                f"distributor {self.name!r} starts once; make another for a new Pipe"
            )
        loop = asyncio.get_running_loop()
        descriptor = self._connection.fileno()
        os.set_blocking(descriptor, False)
        self._watch = ReadableWatch(loop, descriptor, self._on_readable)
        self._descriptor = descriptor
        self._loop = loop

    def stop(self) -> None:
        """Stop reading, close the connection and let go of the consumers; once.

        From any thread. While the loop runs in another thread, this only asks the loop to stop
        reading, and returns before that is done; ``on_stop`` is called afterwards.
        """
        loop = self._loop
        if loop is None or not loop.is_running() or loop is running_loop():
            self._release(None)
            return
        try:
            loop.call_soon_threadsafe(self._release, None)
        except RuntimeError:
            if not loop.is_closed():
                raise
            self._release(None)

    def _on_readable(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:
            data = b""
        except OSError as error:
            logger.exception("reading failed distributor=%s", self.name)
            self._release(error)
            return
        if not data:
            self._note_end_of_file()
            self._release(None)
            return
        self._parser.feed(data)
        try:
            self._hand_out_whole_frames()
        except FrameError as error:
            logger.exception("reading ends: no frame has such bytes distributor=%s", self.name)
            self._release(error)

    def _hand_out_whole_frames(self) -> None:
        while not self._stopped and (frame := self._parser.next_frame()) is not None:
            try:
                item = self._decode(frame)
            except Exception:
                logger.exception(
                    "frame dropped, decoding failed bytes=%d distributor=%s", len(frame), self.name
                )
                continue
            self._consumers.hand_out(item)

    def _note_end_of_file(self) -> None:
        if self._parser.unfinished:
            logger.warning("peer is gone in the middle of a frame distributor=%s", self.name)
        else:
            logger.debug("peer is gone distributor=%s", self.name)

    def _release(self, reason: Exception | None) -> None:
        if self._stopped:
            return
        self._stopped = True
        if self._watch is not None:
            self._watch.close()
        self._connection.close()
        self._consumers.clear()
        if self._on_stop is not None:
            self._on_stop(reason)


class QueueDistributor(Generic[T]):
    """Drains a queue on a thread of its own and hands each item to all consumers.

    At a None in the queue, the thread ends. The idea is marimo's class of that name; here a
    consumer, while it is called, may also add and remove consumers and stop the distributor.

    Args:
        source: nobody else may take from it.
        name: of the thread, and for logs.
    """

    def __init__(self, source: queue.Queue[T | None], *, name: str = "queue") -> None:
        self.name = name
        self._source = source
        self._consumers: Consumers[T] = Consumers(name)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def add_consumer(self, consumer: Consumer[T], *, name: str | None = None) -> Disposable:
        """Hand every further item to ``consumer`` too; call the result to end that. Any thread.

        Args:
            consumer: called on the distributor's thread. If it raises, that is logged, and the
                others still get the item.
            name: for logs; None takes the function's own.
        """
        return self._consumers.add(consumer, name)

    def start(self) -> None:
        """Start the thread, as a daemon: it never keeps the process alive.

        Raises:
            RuntimeError: started before.
        """
        if self._thread is not None:
            raise RuntimeError(f"distributor {self.name!r} starts once; make another for a new run")
        self._thread = threading.Thread(target=self._drain, name=self.name, daemon=True)
        self._thread.start()

    def stop(self, timeout: float | None = None) -> None:
        """Hand out what is queued already, then end the thread and wait for its end.

        Producers should have stopped: an item that comes later may or may not be handed out. A
        consumer that calls this only requests the end, as a thread cannot wait for itself. If the
        distributor was not started or has stopped already, nothing is done.

        Args:
            timeout: seconds to wait for the thread; None waits without a bound.

        Raises:
            TimeoutError: the thread still runs, in a consumer that takes longer.
        """
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        self._stopping.set()
        try:
            self._source.put_nowait(None)
        except queue.Full:
            # A full queue needs no None: the thread does not wait in `get`, and will see the flag.
            logger.debug("queue is full at the stop distributor=%s", self.name)
        if thread is threading.current_thread():
            return
        thread.join(timeout)
        if thread.is_alive():
            raise TimeoutError(
                f"distributor {self.name!r} still runs {timeout} s after it was told to stop;"
                " one of its consumers does not return"
            )

    def _drain(self) -> None:
        while (item := self._take()) is not None:
            self._consumers.hand_out(item)

    def _take(self) -> T | None:
        if not self._stopping.is_set():
            return self._source.get()
        try:
            return self._source.get_nowait()
        except queue.Empty:
            return None
