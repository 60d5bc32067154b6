"""The script for banners is put into marimo's page, and into nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from mpkernel.marimo_backend.server.banner import showing_banners

PAGE = b"<html><head><title>t</title></head><body></head></body></html>"


async def sent(headers: dict[str, str], *bodies: bytes) -> tuple[dict[str, str], bytes]:
    """The headers and the body that arrive when a response is sent in these parts."""
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    send_page = showing_banners(send)
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send_page({"type": "http.response.start", "status": 200, "headers": encoded})
    for number, body in enumerate(bodies, start=1):
        more = number < len(bodies)
        await send_page({"type": "http.response.body", "body": body, "more_body": more})
    start, *parts = messages
    assert start["type"] == "http.response.start"
    names = {name.decode(): value.decode() for name, value in start["headers"]}
    return names, b"".join(part["body"] for part in parts)


async def test_a_page_gets_the_script_at_the_end_of_its_head_and_its_true_length() -> None:
    headers, body = await sent({"content-type": "text/html; charset=utf-8"}, PAGE)
    head, _, rest = body.partition(b"</head>")
    assert head.endswith(b"</script>\n")
    assert body.count(b"<script") == 1
    assert rest == b"<body></head></body></html>"
    assert headers["content-length"] == str(len(body))


@pytest.mark.parametrize(
    ("headers", "bodies"),
    [
        ({"content-type": "application/json"}, [PAGE]),
        ({"content-type": "text/html", "content-encoding": "gzip"}, [PAGE]),
        ({"content-type": "text/html"}, [b"<p>no head</p>"]),
        ({"content-type": "text/html"}, [PAGE[:20], PAGE[20:]]),
        ({}, [b""]),
    ],
)
async def test_anything_else_passes_as_it_is(headers: dict[str, str], bodies: list[bytes]) -> None:
    assert await sent(headers, *bodies) == (headers, b"".join(bodies))
