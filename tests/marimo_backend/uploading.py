"""Sends a page's request through `uploads`, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
from marimo._runtime.commands import UpdateUIElementCommand

from mpkernel.marimo_backend.server.uploads import Receive, taking_out_long_texts, with_uploads

SCOPE = {"type": "http", "path": "/app/api/kernel/set_ui_element_value", "headers": []}
MAX_BYTES = 1 << 30


def receiving(body: bytes, *, chunk_bytes: int = 60_000) -> Receive:
    """An ASGI `receive` of this body."""
    starts = range(0, len(body), chunk_bytes) or range(1)
    chunks: Iterator[bytes] = (body[start : start + chunk_bytes] for start in starts)
    left = len(starts)

    async def receive() -> Any:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": next(chunks), "more_body": left > 0}

    return receive


async def body_of(receive: Receive) -> bytes:
    """The whole body that a reader gets."""
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            return body


def uploaded(values: dict[str, Any], *, max_bytes: int = MAX_BYTES) -> UpdateUIElementCommand:
    """The command that is sent when a page sets these values."""
    body = msgspec.json.encode({"values": values})
    receive = taking_out_long_texts(SCOPE, receiving(body), max_bytes=max_bytes)
    decoded = msgspec.json.decode(asyncio.run(body_of(receive)))["values"]
    return with_uploads(UpdateUIElementCommand(list(decoded), list(decoded.values())))
