"""Uploads on their way in: the long texts in what a page sends are taken out of it as it arrives.

An uploaded file reaches marimo as base64 in the JSON of a request. marimo joins all of it, decodes
it at once on the event loop, and the command with it would be copied there again: nobody else is
answered for about a second per 100 MB. So this stands between the web server and marimo, and looks
through each chunk as it comes:

    {"objectIds":["Hbol-0"],"values":[[["sales.csv","UEsDBBQ… (133 MB)"]]]}     from the page
    {"objectIds":["Hbol-0"],"values":[[["sales.csv","mpkernel-text:5ac8…"]]]}   to marimo

The text itself is written to a `Spooled`, on a thread, some at a time, while the page is not read
any further. `with_uploads` puts it back into the command that marimo makes of the request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import msgspec

from mpkernel.errors import MPKernelError
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.spooled import Apart, Spooled, is_placeholder, spooled_of

__all__ = ["LongStrings", "taking_out_long_texts", "with_uploads"]

CommandT = TypeVar("CommandT")
Receive = Callable[[], Awaitable[Any]]

_ROUTE = "/api/kernel/set_ui_element_value"
_LONG_BYTES = 64 * 1024
_SLICE_BYTES = 64 * 1024  # looked through at once
_PIECE_BYTES = 1024 * 1024  # written at once

_INSIDE_STRING = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_STRING_REST = re.compile(_INSIDE_STRING, re.DOTALL)
_WHOLE_STRINGS = re.compile(rb'(?:[^"]*+"' + _INSIDE_STRING + rb'")*+', re.DOTALL)


class Taker(Protocol):
    """Who takes the long strings."""

    def begin(self) -> str:
        """A long string begins. What stands for it in the text, in ASCII."""
        ...

    def take(self, data: bytes) -> None:
        """The next bytes of the string, as they stand in the text."""
        ...

    def end(self) -> None:
        """The string has ended."""
        ...


class LongStrings:
    """Takes the long strings out of a JSON text that comes in chunks. It only looks for quotes:
    whether the text is JSON, its reader finds out.

    Args:
        taker: is given the strings of at least `long_bytes`. One that lies within a single chunk is
            passed on, so chunks should be no longer than that.
        long_bytes: see there. Default: 64 KiB.
    """

    def __init__(self, taker: Taker, *, long_bytes: int = _LONG_BYTES) -> None:
        self._taker = taker
        self._long_bytes = long_bytes
        self._is_inside = False
        self._is_long = False
        self._held = b""  # of a string that may become long, with its first quote
        self._cut_escape = b""  # a backslash whose other half is in the next chunk

    def feed(self, chunk: bytes) -> bytes:
        """The next of the text; returns what the reader is to have for it."""
        chunk, self._cut_escape = self._cut_escape + chunk, b""
        out: list[bytes] = []
        position = 0
        while position < len(chunk):
            if self._is_inside:
                position = self._take_from_string(chunk, position, out)
            else:
                position = self._pass_whole_strings(chunk, position, out)
        return b"".join(out)

    def end(self) -> bytes:
        """The text has ended; what is left for the reader, where that was inside a string."""
        held, self._held = self._held + self._cut_escape, b""
        return held

    def _pass_whole_strings(self, chunk: bytes, position: int, out: list[bytes]) -> int:
        whole = _WHOLE_STRINGS.match(chunk, position)
        assert whole is not None  # it matches nothing, too
        opening = chunk.find(b'"', whole.end())
        if opening < 0:
            out.append(chunk[position:])
            return len(chunk)
        out.append(chunk[position:opening])
        self._is_inside, self._is_long, self._held = True, False, b'"'
        return opening + 1

    def _take_from_string(self, chunk: bytes, position: int, out: list[bytes]) -> int:
        end = _end_of_string(chunk, position)
        is_over = chunk[end : end + 1] == b'"'
        self._cut_escape = b"" if is_over else chunk[end:]
        self._keep(chunk[position:end], out)
        if not is_over:
            return len(chunk)
        if self._is_long:
            self._taker.end()
        else:
            out += (self._held, b'"')
        self._is_inside, self._held = False, b""
        return end + 1

    def _keep(self, content: bytes, out: list[bytes]) -> None:
        if self._is_long:
            self._taker.take(content)
            return
        self._held += content
        if len(self._held) > self._long_bytes:
            self._is_long = True
            out.append(b'"%b"' % self._taker.begin().encode())
            self._taker.take(self._held[1:])
            self._held = b""


def _end_of_string(chunk: bytes, position: int) -> int:
    """Where the string that goes on here has its last quote, or a backslash that the chunk ends
    with, or the chunk its end."""
    quote = chunk.find(b'"', position)
    end = len(chunk) if quote < 0 else quote
    if chunk.find(b"\\", position, end) < 0:
        return end
    rest = _STRING_REST.match(chunk, position)
    assert rest is not None  # it matches nothing, too
    return rest.end()


class _Spooler:
    """Collects the long strings of one request until there is enough to write.

    Args:
        max_bytes: how much is written for one request. What comes beyond is counted alone: the
            command that it is part of is refused.
    """

    def __init__(self, max_bytes: int) -> None:
        self._bytes_left = max_bytes
        self._texts: list[Spooled] = []
        self._buffer = bytearray()
        self._ready: list[tuple[Spooled, bytes]] = []

    def begin(self) -> str:
        self._texts.append(Spooled())
        return self._texts[-1].placeholder

    def take(self, data: bytes) -> None:
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            self._texts[-1].skip(len(data))
            return
        self._buffer += data
        if len(self._buffer) >= _PIECE_BYTES:
            self.end()

    def end(self) -> None:
        if self._buffer:
            self._ready.append((self._texts[-1], bytes(self._buffer)))
            self._buffer.clear()

    async def write(self) -> None:
        """Write what there is enough of."""
        ready, self._ready = self._ready, []
        if ready:
            await asyncio.to_thread(_write, ready)


def _write(pieces: list[tuple[Spooled, bytes]]) -> None:
    for text, data in pieces:
        text.append(data)


def taking_out_long_texts(scope: Any, receive: Receive, *, max_bytes: int) -> Receive:
    """An ASGI `receive` that takes the long texts out of a request that sets elements. Their
    placeholders are good for as long as it is referred to.

    Args:
        scope, receive: of a request.
        max_bytes: the most that is taken of one request.
    """
    if not scope["path"].endswith(_ROUTE) or not _may_be_long(scope):
        return receive
    spooler = _Spooler(max_bytes)
    strings = LongStrings(spooler)

    async def receive_without() -> Any:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body = message.get("body", b"")
        passed = []
        for start in range(0, len(body), _SLICE_BYTES):
            passed.append(strings.feed(body[start : start + _SLICE_BYTES]))
            await spooler.write()
        if not message.get("more_body"):
            passed.append(strings.end())
        return {**message, "body": b"".join(passed)}

    return receive_without


def _may_be_long(scope: Any) -> bool:
    length = dict(scope["headers"]).get(b"content-length", b"")
    return not length.isdigit() or int(length) >= _LONG_BYTES


def with_uploads(command: CommandT) -> CommandT:
    """A command of marimo's, with the values that have long texts as `Apart`.

    Raises:
        MPKernelError: it holds the placeholder of a text that is not kept any more.
    """
    if not isinstance(command, seam.server("UpdateUIElementCommand")):
        return command
    values = [_with_texts(value) for value in command.values]
    if all(one is other for one, other in zip(values, command.values, strict=True)):
        return command
    changed: Any = msgspec.structs.replace(command, values=values)
    return changed  # type: ignore[no-any-return]


def _with_texts(value: Any) -> Any:
    texts: list[Spooled] = []
    replaced = _replaced(value, texts)
    return Apart(replaced, texts) if texts else value


def _replaced(value: Any, texts: list[Spooled]) -> Any:
    if type(value) is str:
        if not is_placeholder(value):
            return value
        text = spooled_of(value)
        if text is None:
            raise MPKernelError(
                "the page sends an uploaded file that the server does not keep any more",
                remedy="upload the file again",
            )
        texts.append(text)
        return text
    if type(value) is list:
        return [_replaced(one, texts) for one in value]
    if type(value) is dict:
        return {name: _replaced(one, texts) for name, one in value.items()}
    return value
