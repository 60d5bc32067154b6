"""What the cells of one kernel print, on its way to marimo's thread that sends it.

    write ─▶ is the newest message of the same cell, and has nobody read it?
                 ├─ yes: the text is added to it
                 └─ no: a new message in marimo's queue, and a wake-up of marimo's thread

marimo queues a message for each text, and wakes its thread for each; one call of `print` writes
several. The thread joins messages of one cell, and sends what came within 10 ms. Adding to a
message costs a fraction of that, and leads to the same.

marimo queues without limit. Here a mark follows each 1,048,576 characters: at a mark, marimo's
thread sends at once what it has. Until it has done so, the threads that print have to wait, for
example while a browser does not read.
"""

from __future__ import annotations

import functools
import sys
from collections import deque
from typing import Any, Literal

from mpkernel.marimo_backend import seam

__all__ = ["Prints"]

_AHEAD_CHARS = 1024 * 1024
"""So many characters may wait for marimo's thread."""


class Prints:
    """What all streams of one kernel print. From any thread."""

    def __init__(self) -> None:
        self._newest: Any = None
        self._unsent_chars = 0
        self._mark: Any = None
        self._marked_chars = 0

    def is_ahead(self, inner: Any) -> bool:
        """Whether too much waits for marimo's thread.

        Args:
            inner: marimo's stream object.
        """
        if self._unsent_chars <= _AHEAD_CHARS:
            return False
        mark = self._mark
        if mark is None:
            self._newest = None
            self._marked_chars = self._unsent_chars
            mark = self._mark = seam.host("FlushMarker")()
            _put(inner._stream, mark)
        if not mark.done.is_set():
            return True
        self._unsent_chars -= self._marked_chars
        self._mark = None
        return False

    def add(self, writer: object, inner: Any, text: str) -> bool:
        """Add a text to the newest message. Returns whether that could be done.

        Args:
            writer: texts of two of them are never joined.
            inner: marimo's stream object.
            text: what is printed.
        """
        newest = self._newest
        if newest is None or not newest.takes(writer, inner._stream.cell_id, text):
            return False
        queue = inner._stream.console_msg_queue
        if queue and queue[-1] is not newest:
            return False  # what marimo has queued since then stays between the two texts
        self._unsent_chars += len(text)
        newest.parts.append(text)
        # If the message was read at this moment, either this text was read with it, or nobody will
        # read it.
        return newest.is_open or not newest.takes_back()

    def queue(
        self, writer: object, inner: Any, name: Literal["stdout", "stderr"], text: str
    ) -> None:
        """Queue a text as a message of its own.

        Args:
            writer, inner, text: as in `add`.
            name: whether `inner` is marimo's stdout or its stderr.

        Raises:
            TypeError: it is no text.
        """
        stream = inner._stream
        self._newest = None
        if (
            not isinstance(text, str)
            or stream.cell_id is None
            or sys.getsizeof(text) > seam.host("std_stream_max_bytes")()
        ):
            inner.write(text)  # marimo says what is wrong with it, or cuts it
            self._unsent_chars += len(text)
            return
        message = _message_class()(
            stream=seam.host("CellChannel")[name.upper()],
            cell_id=stream.cell_id,
            data=text,
            mimetype="text/plain",
        )
        message.open_for(writer)
        self._unsent_chars += len(text)
        _put(stream, message)
        self._newest = message


def _put(stream: Any, item: Any) -> None:
    with stream.console_msg_cv:
        stream.console_msg_queue.append(item)
        stream.console_msg_cv.notify()


@functools.cache
def _message_class() -> Any:
    class GrowingMessage(seam.host("ConsoleMsg")):  # type: ignore[misc]
        """A message to which text can be added until somebody reads it."""

        is_open = False

        def open_for(self, writer: object) -> None:
            """From now on `writer` may add text."""
            self.writer = writer
            self.parts: deque[str] = deque()
            self.most_bytes = seam.host("std_stream_max_bytes")()
            self.is_open = True

        def takes(self, writer: object, cell: object, text: str) -> bool:
            """Whether this text may be added."""
            is_its_writers = writer is self.writer and cell == self.cell_id
            if not (self.is_open and is_its_writers and type(text) is str):
                return False
            return bool(sys.getsizeof(text) <= self.most_bytes)

        def takes_back(self) -> bool:
            """Take back what was added last. False if it has been read."""
            try:
                self.parts.pop()
            except IndexError:
                return False
            return True

        @property
        def data(self) -> str:
            """All that was added so far. Nothing is added once somebody has read this."""
            if self.is_open:
                self.is_open = False
                self._text += "".join(_drained(self.parts))
            return self._text

        @data.setter
        def data(self, text: str) -> None:
            self.is_open = False
            self._text = text

    return GrowingMessage


def _drained(parts: deque[str]) -> list[str]:
    found = []
    while parts:
        try:
            found.append(parts.popleft())
        except IndexError:  # its writer has just taken it back
            break
    return found
