"""`PageStream`: hands a session's messages to marimo without a thread in between.

In marimo's server a thread for each session takes messages from a queue, and hands each to the
event loop. Here they arrive on the loop already, so for our queues there is no such thread. For any
other queue marimo works as before.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import weakref
from collections.abc import Callable
from typing import Any

from mpkernel.aio.loops import call_on_loop
from mpkernel.marimo_backend import seam

__all__ = ["PageStream", "distribute_on_the_loop"]

logger = logging.getLogger(__name__)

# The key is the id of a stream's queue. With the queue itself as the key, the stream, which refers
# to its queue, would never be garbage-collected.
_streams: weakref.WeakValueDictionary[int, PageStream] = weakref.WeakValueDictionary()


class PageStream:
    """The stream of one session. `put` is for any thread.

    Args:
        messages: the queue that marimo registered for the session. It holds the messages that come
            before marimo begins to distribute them.
        loop: the server's loop.
    """

    def __init__(
        self, messages: queue.Queue[bytes | None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._messages = messages
        self._loop = loop
        self._consume: Callable[[bytes], None] | None = None
        _streams[id(messages)] = self

    @property
    def waiting(self) -> int:
        """How many messages marimo has not taken."""
        return self._messages.qsize()

    def put(self, message: bytes) -> None:
        """Hand a message over. It is dropped when the loop is closed."""
        call_on_loop(self._loop, lambda: self._put(message))

    def start(self, consume: Callable[[bytes], None]) -> None:
        """marimo begins to distribute the messages. On the loop's thread."""
        self._consume = consume
        while not self._messages.empty():
            message = self._messages.get_nowait()
            if message is not None:
                self._put(message)

    def stop(self) -> None:
        """marimo takes no more messages."""
        self._consume = None

    def _put(self, message: bytes) -> None:
        if self._consume is None:
            self._messages.put(message)
            return
        try:
            self._consume(message)
        except Exception:  # other sessions must still get their messages
            logger.exception("a message of %d bytes did not reach its page", len(message))


def distribute_on_the_loop() -> None:
    """Have marimo's sessions take messages of a `PageStream` on the loop. Idempotent."""
    seam.replace_queue_distributor(_distributor_class)


def _distributor_class(queue_distributor: Any) -> Any:
    class Distributor(queue_distributor):  # type: ignore[misc]
        def __init__(self, queue: queue.Queue[bytes | None]) -> None:
            super().__init__(queue)
            self._stream = _streams.get(id(queue))

        def start(self) -> Any:
            if self._stream is None:
                return super().start()
            self._stream.start(self._consume)
            return None

        def stop(self) -> None:
            if self._stream is None:
                super().stop()
            else:
                self._stream.stop()

        def _consume(self, message: bytes) -> None:
            for consumer in list(self.consumers):
                consumer(message)

    return Distributor
