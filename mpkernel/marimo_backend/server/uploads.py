"""Taking uploaded files, and other long texts, out of what a page sends, while it arrives.

An uploaded file reaches marimo as base64 in the JSON of a request. marimo joins all of it, and
decodes it at once on the event loop. The command with it would be copied there once more. Nobody
else would be answered for about a second per 100 MB. So this code is between the web server and
marimo, and looks through each chunk as it comes:

    {"objectIds":["Hbol-0"],"values":[[["sales.csv","UEsDBBQ… (133 MB)"]]]}     from the page
    {"objectIds":["Hbol-0"],"values":[[["sales.csv","mpkernel-text:5ac8…"]]]}   to marimo

The text itself is written to a `Spooled`, piece by piece, on a thread; meanwhile no more is read
from the page. `with_uploads` puts the `Spooled` into the command that marimo makes of the request.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import msgspec

from mpkernel.aio.threads import off_the_loop
from mpkernel.errors import MPKernelError
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.spooled import Apart, Spooled, is_placeholder, spooled_of

__all__ = ["LongStrings", "may_be_upload", "taking_out_long_texts", "with_uploads"]

CommandT = TypeVar("CommandT")
Receive = Callable[[], Awaitable[Any]]

_ROUTE = "/api/kernel/set_ui_element_value"
_LONG_BYTES = 64 * 1024
_SLICE_BYTES = 64 * 1024  # how many bytes are searched at a time
_PIECE_BYTES = 1024 * 1024  # how many bytes are written at a time

# No group is possessive: up to Python 3.11.4, such groups match the wrong texts. Nothing is tried
# twice all the same, since each character can be matched in one way only.
_INSIDE_STRING = rb'[^"\\]*+(?:\\.[^"\\]*+)*'
_STRING_REST = re.compile(_INSIDE_STRING, re.DOTALL)
_WHOLE_STRINGS = re.compile(rb'(?:[^"]*+"' + _INSIDE_STRING + rb'")*', re.DOTALL)


class Taker(Protocol):
    """Receives the long strings."""

    def begin(self) -> str:
        """A long string begins. Returns what replaces it in the text, in ASCII."""
        ...

    def take(self, data: bytes) -> None:
        """The next bytes of the string, as they are in the text."""
        ...

    def end(self) -> None:
        """The string has ended."""
        ...


class LongStrings:
    """Takes the long strings out of a JSON text that comes in chunks. It only looks for quotes; it
    does not check whether the text is JSON.

    Args:
        taker: receives the strings of at least `long_bytes`. A string within a single chunk stays
            in the text, so chunks should not be longer than that.
        long_bytes: see `taker`. Default: 64 KiB.
    """

    def __init__(self, taker: Taker, *, long_bytes: int = _LONG_BYTES) -> None:
        self._taker = taker
        self._long_bytes = long_bytes
        self._is_inside = False
        self._is_long = False
        self._held = b""  # the begin of a string that may become long, with its quote
        self._cut_escape = b""  # a backslash whose other half is in the next chunk

    def feed(self, chunk: bytes) -> bytes:
        """Give the next chunk of the text. Returns what replaces it."""
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
        """The text has ended. Returns what is left of it, if it ended inside a string."""
        held, self._held = self._held + self._cut_escape, b""
        return held

    def _pass_whole_strings(self, chunk: bytes, position: int, out: list[bytes]) -> int:
        whole = _WHOLE_STRINGS.match(chunk, position)
        assert whole is not None  # the pattern also matches an empty text
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
    """The position of the last quote of the string that continues here; or of a backslash that ends
    the chunk; or the end of the chunk."""
    quote = chunk.find(b'"', position)
    end = len(chunk) if quote < 0 else quote
    if chunk.find(b"\\", position, end) < 0:
        return end
    rest = _STRING_REST.match(chunk, position)
    assert rest is not None  # the pattern also matches an empty text
    return rest.end()


class _Spooler:
    """Collects the long strings of one request until there is enough to write.

    Args:
        max_bytes: how much is written for one request. What comes beyond it is only counted: the
            command with it will be refused.
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
        """Write the collected bytes, if there are enough."""
        ready, self._ready = self._ready, []
        if ready:
            await off_the_loop(functools.partial(_write, ready))


def _write(pieces: list[tuple[Spooled, bytes]]) -> None:
    for text, data in pieces:
        text.append(data)


def taking_out_long_texts(scope: Any, receive: Receive, *, max_bytes: int) -> Receive:
    """An ASGI `receive` that takes the long texts out of a request that sets elements. Their
    placeholders are valid as long as this `receive` exists.

    Args:
        scope, receive: those of a request.
        max_bytes: the most bytes of long texts that are taken from one request.
    """
    if not may_be_upload(scope):
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


def may_be_upload(scope: Any) -> bool:
    """Whether a request may set an element to a long text."""
    if not scope["path"].endswith(_ROUTE):
        return False
    length = dict(scope["headers"]).get(b"content-length", b"")
    return not length.isdigit() or int(length) >= _LONG_BYTES


def with_uploads(command: CommandT) -> CommandT:
    """A command of marimo's, in which each value that has long texts is an `Apart`.

    Raises:
        MPKernelError: the command has the placeholder of a text that is not kept any more.
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
                "the page sent an uploaded file that the server does not keep any more",
                remedy="upload the file again",
            )
        texts.append(text)
        return text
    if type(value) is list:
        return [_replaced(one, texts) for one in value]
    if type(value) is dict:
        return {name: _replaced(one, texts) for name, one in value.items()}
    return value
