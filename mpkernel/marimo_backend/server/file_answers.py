"""`serve_file`: answers a request for a virtual file.

    request ─▶ is there such a file? ─ no ──────────────────────────────────▶ 404
                   │ yes: open it
                   ▼
               marimo's function for such requests: may this reader have it, its type,
                   │                                its range, the name of a download
                   ├─ no: marimo says so to the client
                   ▼
               Content-Length, ETag, 304 ─▶ slices of the open file ─▶ client

marimo would call its function and fetch each slice on other threads, and send the whole file in
chunks of unknown number. Here the loop calls it, copies a slice of shared memory, waits until the
client has taken it, and then copies the next one. So a client that is slow costs one slice of
memory, and a progress bar knows how long the file is.

If the bytes cannot be read any more, because their process has ended on another machine, the answer
is "not found" before its first byte, and is broken off after it. The log says so in one line.

A file never changes under its name and entity tag, so a browser that has it may keep it (RFC 9110,
sections 8.8.3, 13.1.2 and 13.1.5).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from mpkernel.aio.broken_answers import BrokenAnswer
from mpkernel.aio.threads import off_the_loop
from mpkernel.amounts import memory
from mpkernel.logs import get_logger
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.server.conditions import Conditions
from mpkernel.marimo_backend.server.registered_files import EMPTY_FILE, FILE_ROUTE
from mpkernel.server.hosts.announced_files import app_of
from shm import Entry, Reader, Registry, ShmError, Unavailable

__all__ = ["serve_file"]

logger = get_logger(__name__)

_SLICE_BYTES = 512 * 1024
"""How much is sent at once: copying it takes the loop a fifth of a millisecond at the most."""

_OF_BODIES = (b"content-length", b"content-range", b"content-type")

_App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
_Headers: TypeAlias = list[tuple[bytes, bytes]]


async def serve_file(app: _App, files: Registry, scope: Any, receive: Any, send: Any) -> None:
    """Answer a request for a virtual file. The file is open until its last byte is sent: the
    process that made it may end meanwhile.

    Args:
        app: marimo's application, which answers what this cannot.
        files: those that hosts have announced. marimo itself would read whatever name and length
            the URL gives.
        scope, receive, send: the request's. marimo has found out already who asks.
    """
    head, _, requested = scope["path"].rpartition(FILE_ROUTE)
    name = requested.partition("-")[2]
    if name == EMPTY_FILE:  # marimo has it, but not by the name that its own pages ask for
        path = f"{head}{FILE_ROUTE}{EMPTY_FILE}"
        await app({**scope, "path": path, "raw_path": path.encode()}, receive, send)
        return
    if scope["method"] not in ("GET", "HEAD"):
        await app(scope, receive, send)
        return
    with ExitStack() as held:
        try:
            entry = held.enter_context(files.lease(name))
            reader = held.enter_context(closing(entry.open()))
        except KeyError:
            refusal = _not_found()
        except Unavailable as error:
            logger.warning("a virtual file cannot be read for now: %s", error)
            refusal = PlainTextResponse(
                "File cannot be read for now", status_code=503, headers={"Retry-After": "1"}
            )
        else:
            registered = f"{entry.size}-{name}"
            scope = {**scope, "path": f"{head}{FILE_ROUTE}{registered}"}
            scope["raw_path"] = scope["path"].encode()
            wanted = Conditions(scope, _tag_of(entry)).without_idle_range(scope)
            try:
                response = _marimos_response(wanted, registered)
            except HTTPException:
                await app(scope, receive, send)
                return
            await _Answer(scope, receive, send, entry, reader).send(response)
            return
        allowed = "read" in scope["auth"].scopes
        await (refusal if allowed else app)(scope, receive, send)


def _not_found() -> Response:
    return PlainTextResponse("File not found", status_code=404)


def _marimos_response(scope: Any, registered: str) -> Response:
    """What marimo answers, without the bytes.

    Args:
        scope: the request's.
        registered: the file's size and name, as its path ends.

    Raises:
        HTTPException: marimo refuses it.
    """
    request = Request({**scope, "path_params": {"filename_and_length": registered}})
    response: Response = seam.server("virtual_file")(request)
    return response


class _Answer:
    """The answer to one request.

    Args:
        scope, receive, send: the request's.
        entry: the file.
        reader: its bytes.
    """

    def __init__(self, scope: Any, receive: Any, send: Any, entry: Entry, reader: Reader) -> None:
        self._is_head = scope["method"] == "HEAD"
        self._has_left = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._entry = entry
        self._reader = reader

    async def send(self, response: Response) -> None:
        """Send what marimo answers, and the bytes that it is about.

        Raises:
            BrokenAnswer: the bytes came to an end before they should.
        """
        status, headers = response.status_code, list(response.raw_headers)
        if status not in (200, 206, 416):
            await self._nothing(status, headers)
            return
        tag = _tag_of(self._entry)
        headers.append((b"etag", tag))
        conditions = Conditions(self._scope, tag)
        if conditions.is_other_file or conditions.is_known:
            kept = [(name, value) for name, value in headers if name not in _OF_BODIES]
            await self._nothing(412 if conditions.is_other_file else 304, kept)
            return
        if status == 416:
            await self._nothing(status, headers)
            return
        first, end = _range_of(response, self._entry.size)
        if b"content-length" not in dict(headers):
            headers.append((b"content-length", b"%d" % (end - first)))
        if self._is_head or first == end:
            await self._nothing(status, headers)
            return
        slices = self._reader.chunks(first, end, chunk_bytes=_SLICE_BYTES)
        try:
            part = await self._next(slices)
        except ShmError as error:
            self._tell_of(error, sent=0, of=end - first)
            await _not_found()(self._scope, self._receive, self._send)
            return
        await self._start(status, headers)
        if len(part) == end - first:
            await self._body(part, has_more=False)
            return
        watching = asyncio.ensure_future(self._watch_client())
        try:
            await self._slices(part, slices, end - first)
        finally:
            watching.cancel()

    async def _slices(self, part: bytes, slices: Iterator[bytes], size: int) -> None:
        """Send the bytes, of which there are `size`, while the client takes them.

        Args:
            part: the first of them.
            slices: the others.
            size: how many there are.
        """
        sent = len(part)
        await self._body(part, has_more=True)
        while sent < size and not self._has_left:
            # Even if a client takes everything at once, the loop must do other work meanwhile.
            await asyncio.sleep(0)
            try:
                part = await self._next(slices)
            except ShmError as error:
                self._tell_of(error, sent=sent, of=size)
                raise BrokenAnswer(str(error)) from error
            sent += len(part)
            await self._body(part, has_more=sent < size)

    async def _next(self, slices: Iterator[bytes]) -> bytes:
        """The next bytes.

        Raises:
            ShmError: they cannot be read any more.
        """
        return await off_the_loop(lambda: next(slices)) if self._reader.waits else next(slices)

    def _tell_of(self, error: ShmError, *, sent: int, of: int) -> None:
        logger.warning(
            "the file %s that a page fetches is broken off after %s of %s: %s",
            self._entry.key,
            memory(sent),
            memory(of),
            error,
            app=app_of(self._entry),
        )

    async def _watch_client(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._has_left = True

    async def _nothing(self, status: int, headers: _Headers) -> None:
        await self._start(status, headers)
        await self._body(b"", has_more=False)

    async def _start(self, status: int, headers: _Headers) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _body(self, part: bytes, *, has_more: bool) -> None:
        await self._send({"type": "http.response.body", "body": part, "more_body": has_more})


def _range_of(response: Response, size: int) -> tuple[int, int]:
    """Which bytes of a file marimo answers with: from, and up to but not including."""
    given = response.headers.get("content-range")
    if given is None:
        return 0, size
    first, _, last = given.removeprefix("bytes ").partition("/")[0].partition("-")
    return int(first), int(last) + 1


def _tag_of(entry: Entry) -> bytes:
    """The entity tag. A file that is stored under the key of an earlier one gets another tag."""
    identity = f"{entry.key} {entry.size} {entry.registered_at}".encode()
    return b'"%s"' % hashlib.blake2b(identity, digest_size=12).hexdigest().encode()
