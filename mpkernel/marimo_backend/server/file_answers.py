"""Answers to requests for virtual files: marimo says what is sent, and the bytes are sent here.

    request ─▶ marimo ─▶ who may read it, its type, its range, the name of a download
                 │
               start ──▶ FileAnswer: Content-Length, ETag, 304 ─▶ slices of the open file ─▶ client

marimo would fetch each slice with a thread of its own and send the whole file in chunks of unknown
number. Here the loop copies a slice of shared memory, waits until the client has taken it, and then
copies the next one. So a client that is slow costs one slice of memory, and a progress bar knows
how long the file is.

A file never changes under its name and entity tag, so a browser that has it may keep it (RFC 9110,
sections 8.8.3, 13.1.2 and 13.1.5).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

from mpkernel.aio.threads import off_the_loop
from mpkernel.marimo_backend.server.registered_files import OpenFile
from shm import Entry

__all__ = ["FileAnswer", "with_valid_range"]

_SLICE_BYTES = 512 * 1024
"""How much is sent at once: copying it takes the loop a fifth of a millisecond at the most."""

_OF_BODIES = (b"content-length", b"content-range", b"content-type")

_Send: TypeAlias = Callable[[Any], Awaitable[None]]
_Headers: TypeAlias = list[tuple[bytes, bytes]]


class FileAnswer:
    """`send` for marimo's application, in the place of the server's own.

    Args:
        scope: the request.
        send: the server's.
        file: the file that is asked for.
    """

    def __init__(self, scope: Any, send: _Send, file: OpenFile) -> None:
        self._is_head = scope["method"] == "HEAD"
        self._known = _values(scope, b"if-none-match")
        self._send = send
        self._file = file
        self._start: Any = None

    async def send(self, message: Any) -> None:
        """Takes a message of marimo's answer."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is not None:
            has_body, has_more = bool(message.get("body")), message.get("more_body", False)
            if has_more and not has_body:
                return  # it says nothing yet
            start, self._start = self._start, None
            if self._file.wanted is not None and not has_body:
                await self._answer(start, *self._file.wanted)
                return
            await self._send(start)  # an answer without the file: an error, for example
        await self._send(message)

    async def _answer(self, start: Any, first: int, end: int) -> None:
        """Send the bytes from `first` to `end`.

        Raises:
            BlockNotFound: the file was cut short. The client sees that it did not get all of it.
        """
        tag = _tag_of(self._file.entry)
        headers: _Headers = [*start["headers"], (b"etag", tag)]
        if tag in self._known or b"*" in self._known:
            kept = [(name, value) for name, value in headers if name.lower() not in _OF_BODIES]
            await self._send({**start, "status": 304, "headers": kept})
            await self._send({"type": "http.response.body"})
            return
        end = max(first, min(end, self._file.entry.size))
        if not any(name.lower() == b"content-length" for name, _ in headers):
            headers.append((b"content-length", b"%d" % (end - first)))
        await self._send({**start, "headers": headers})
        if not self._is_head:
            slices = self._file.reader.chunks(first, end, chunk_bytes=_SLICE_BYTES)
            while part := await self._next_of(slices):
                await self._send({"type": "http.response.body", "body": part, "more_body": True})
                # Even if a client takes everything at once, the loop must do other work meanwhile.
                await asyncio.sleep(0)
        await self._send({"type": "http.response.body"})

    async def _next_of(self, slices: Iterator[bytes]) -> bytes:
        """The next slice; empty at the end. Only a slice of shared memory is read on the loop's
        thread, since reading it never waits."""
        if self._file.entry.source.kind == "temp_file":
            return await off_the_loop(lambda: next(slices, b""))
        return next(slices, b"")


def with_valid_range(scope: Any, entry: Entry) -> Any:
    """The request, without its range if the range was meant for an earlier file of this name."""
    condition = _values(scope, b"if-range")
    if not condition or _tag_of(entry) in condition:
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
    return {**scope, "headers": headers}


def _tag_of(entry: Entry) -> bytes:
    """The entity tag. A file that is stored under the key of an earlier one gets another tag."""
    identity = f"{entry.key} {entry.size} {entry.registered_at}".encode()
    return b'"%s"' % hashlib.blake2b(identity, digest_size=12).hexdigest().encode()


def _values(scope: Any, name: bytes) -> list[bytes]:
    return [
        value.strip().removeprefix(b"W/")
        for header, values in scope["headers"]
        if header == name
        for value in values.split(b",")
    ]
