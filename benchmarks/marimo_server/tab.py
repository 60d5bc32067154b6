"""A client of marimo without a browser: what one tab is to the server, at the protocol's level.

In run mode a page opens one WebSocket, which brings all messages of its session, and posts the
values of UI elements. A `Tab` does the same and renders nothing, so that a test can have a
hundred and more of them. What only a browser can tell is in `test_browser.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Self
from urllib.parse import urlencode, urljoin

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .process import PATIENCE_S

__all__ = ["Element", "Tab", "TabClosed", "http_client", "open_tabs"]


class TabClosed(AssertionError):
    """The server closed the tab's WebSocket while the test waited for something else."""


@dataclass
class Element:
    """A UI element that the page would show."""

    object_id: str
    kind: str
    """Its HTML tag: `marimo-slider`, `marimo-table`, `marimo-download`, …"""
    label: str
    arguments: dict[str, Any] = field(default_factory=dict)
    """The tag's `data-` attributes, decoded: `initial-value`, `data`, `start`, …"""

    @property
    def value(self) -> Any:
        """The value it was created with."""
        return self.arguments.get("initial-value")


class Tab:
    """One client of a notebook: what a browser tab is to the server.

    `await open()` connects, `wait_for` waits on what arrives. After `close()` the same tab
    can `open()` again and takes up its session, as a page does after a lost connection.

    Args:
        url: where the server, or the mounted app, answers.
        file: key of the notebook: its path relative to the served directory, or None
            where only one is served.
        query: query parameters of the page.
        client: an HTTP client to share among tabs; by default each tab has its own.
        history: how many messages to keep in `messages`; None keeps all.
    """

    def __init__(
        self,
        url: str,
        file: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        client: httpx.AsyncClient | None = None,
        history: int | None = None,
    ) -> None:
        self.url = url.rstrip("/") + "/"
        self.session_id = f"s_{secrets.token_hex(6)}"
        self.messages: deque[dict[str, Any]] = deque(maxlen=history)
        """Everything that came, oldest first: the message's fields, its kind under `op`."""
        self.console = ""
        """All that cells printed, standard output and error in the order of arrival."""
        self.completed_runs = 0
        self.close_code: int | None = None
        self.close_reason = ""
        self._query = {**({"file": file} if file else {}), **(query or {})}
        self._own_client = client is None
        self._client = client or http_client()
        self._server_token: str | None = None
        self._in_session = False
        self._outputs: dict[str, str] = {}
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._reading = asyncio.Event()
        self._reading.set()
        self._arrival = asyncio.Event()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        if self._own_client:
            await self._client.aclose()

    async def load(self) -> Self:
        """Fetches the page. `open` does it where it was not done before."""
        if self._server_token is None:
            self._server_token = await _server_token(self._client, self.url, self._query)
        return self

    async def open(self, timeout_s: float = PATIENCE_S) -> Self:
        """Connects and waits for the session; the notebook's first run may still go on.

        Raises:
            TabClosed: the server refused, with its reason.
            AssertionError: there was no session in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                self._socket = await self._connect()
        except TimeoutError:
            raise AssertionError(f"no WebSocket from {self.url} within {timeout_s} s") from None
        self.close_code = None
        self._in_session = False
        self._reader = asyncio.create_task(self._read(self._socket))
        return await self.wait_for(lambda tab: tab._in_session, timeout_s)

    async def close(self) -> None:
        """Closes the connection, as a tab does that is shut."""
        if self._socket is None:
            return
        self._reading.set()
        await self._socket.close()
        await self._end_reader()

    async def drop(self) -> None:
        """Loses the connection without a word, as a machine does that goes to sleep."""
        if self._socket is None:
            return
        self._reading.set()
        self._socket.transport.abort()
        await self._end_reader()

    def pause(self) -> None:
        """Stops reading: what the server sends piles up on its side."""
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    @property
    def html(self) -> str:
        """All cells' outputs in the notebook's order, as they were sent."""
        return "\n".join(output for output in self._outputs.values() if output)

    @property
    def text(self) -> str:
        """The outputs without their tags: what a reader of the page could search for."""
        return _plain(self.html)

    @property
    def elements(self) -> list[Element]:
        """The UI elements of all outputs, in the order of the page."""
        parser = _ElementParser()
        parser.feed(self.html)
        return parser.elements

    def element(self, name: str) -> Element:
        """The UI element with this label, object id or tag.

        Raises:
            AssertionError: there is none, or more than one.
        """
        elements = self.elements
        found = [e for e in elements if name in (e.label, e.object_id, e.kind)]
        if len(found) != 1:
            known = [(e.label, e.object_id, e.kind) for e in elements]
            raise AssertionError(f"{len(found)} elements {name!r} among {known}")
        return found[0]

    def received(self, op: str) -> list[dict[str, Any]]:
        """The messages of one kind: `cell-op`, `banner`, `alert`, `completed-run`, …"""
        return [message for message in self.messages if message["op"] == op]

    async def wait_for(
        self, what: str | Callable[[Tab], object], timeout_s: float = PATIENCE_S
    ) -> Self:
        """Waits until the tab's text contains `what`, or until `what(tab)` holds.

        Raises:
            TabClosed: the server closed the connection first.
            AssertionError: it did not come in time; the message holds what the tab shows.
        """
        holds = (lambda tab: what in tab.text) if isinstance(what, str) else what
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not holds(self):
                    if self.close_code is not None:
                        raise TabClosed(
                            f"closed with {self.close_code} {self.close_reason!r} while waiting "
                            f"for {what!r}; {self._state()}"
                        )
                    if self._reader is not None and self._reader.done():
                        await self._reader
                    self._arrival.clear()
                    await self._arrival.wait()
                return self
        raise AssertionError(f"no {what!r} within {timeout_s} s; {self._state()}")

    async def wait_until_run(self, runs: int = 1, timeout_s: float = PATIENCE_S) -> Self:
        """Waits until the kernel has completed this many runs, the first one included."""
        return await self.wait_for(lambda tab: tab.completed_runs >= runs, timeout_s)

    async def wait_closed(self, timeout_s: float = PATIENCE_S) -> int:
        """Waits until the server closes the connection; returns the close code."""
        await self.wait_for(lambda tab: tab.close_code is not None, timeout_s)
        assert self.close_code is not None
        return self.close_code

    async def set_ui(self, name: str, value: object) -> None:
        """Sends a UI element's new value, in the frontend's form (a dropdown's is a list)."""
        await self.set_ui_many({name: value})

    async def set_ui_many(self, values: Mapping[str, object]) -> None:
        """Sends several new values as one command."""
        object_ids = [self.element(name).object_id for name in values]
        response = await self.post(
            "api/kernel/set_ui_element_value",
            {"objectIds": object_ids, "values": list(values.values())},
        )
        response.raise_for_status()

    @property
    def _session_headers(self) -> dict[str, str]:
        return {
            "Marimo-Session-Id": self.session_id,
            "Marimo-Server-Token": self._server_token or "",
        }

    async def post(self, path: str, body: object) -> httpx.Response:
        """Posts to the server's API in this tab's session."""
        return await self._client.post(
            urljoin(self.url, path), json=body, headers=self._session_headers
        )

    async def post_bytes(self, path: str, body: AsyncIterator[bytes]) -> httpx.Response:
        """Posts JSON as it comes, in this tab's session."""
        headers = {**self._session_headers, "Content-Type": "application/json"}
        return await self._client.post(urljoin(self.url, path), content=body, headers=headers)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Fetches a URL as the page would: `./@file/…` is relative to the notebook's page."""
        return await self._client.get(urljoin(self.url, url), headers=headers)

    def stream(self, url: str) -> contextlib.AbstractAsyncContextManager[httpx.Response]:
        """The same, a chunk at a time."""
        return self._client.stream("GET", urljoin(self.url, url))

    async def _connect(self) -> ClientConnection:
        await self.load()
        query = urlencode({**self._query, "session_id": self.session_id})
        cookies = self._client.build_request("GET", self.url).headers.get("cookie")
        return await connect(
            f"{self.url.replace('http', 'ws', 1)}ws?{query}",
            additional_headers={"Cookie": cookies} if cookies else None,
            max_size=None,
            compression=None,
            ping_interval=None,
            open_timeout=None,
            proxy=None,
        )

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                await self._reading.wait()
                self._take(msgspec.json.decode(await socket.recv()))
        except ConnectionClosed:
            self.close_code, self.close_reason = (
                socket.close_code or 1006,
                socket.close_reason or "",
            )
        finally:
            self._arrival.set()

    async def _end_reader(self) -> None:
        if self._reader is not None:
            await self._reader
        self._socket = self._reader = None

    def _take(self, frame: dict[str, Any]) -> None:
        message = frame["data"]
        self.messages.append(message)
        match frame["op"]:
            case "kernel-ready":
                self._in_session = True
                self._outputs = dict.fromkeys(message["cell_ids"], "")
            case "reconnected":
                self._in_session = True
            case "cell-op":
                self._take_cell(message)
            case "completed-run":
                self.completed_runs += 1
        self._arrival.set()

    def _take_cell(self, message: dict[str, Any]) -> None:
        if (output := message["output"]) is not None:
            self._outputs[message["cell_id"]] = _as_html(output)
        console = message["console"] or []
        for part in console if isinstance(console, list) else [console]:
            self.console += part["data"] if isinstance(part["data"], str) else ""

    def _state(self) -> str:
        last = [message["op"] for message in self.messages][-10:]
        return f"text: {self.text!r}; console: {self.console!r}; last messages: {last}"


def http_client() -> httpx.AsyncClient:
    """A client for any number of tabs."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(timeout=60, limits=limits, verify=False, trust_env=False)


@contextlib.asynccontextmanager
async def open_tabs(
    url: str,
    file: str | None,
    count: int,
    *,
    history: int | None = 100,
    timeout_s: float = PATIENCE_S,
) -> AsyncIterator[list[Tab]]:
    """Opens `count` tabs of one notebook at the same time and closes them at the end."""
    async with http_client() as client:
        tabs = [Tab(url, file, client=client, history=history) for _ in range(count)]
        try:
            async with asyncio.TaskGroup() as group:
                for tab in tabs:
                    group.create_task(tab.open(timeout_s))
            yield tabs
        finally:
            await asyncio.gather(*(tab.close() for tab in tabs))


async def _server_token(client: httpx.AsyncClient, url: str, query: Mapping[str, str]) -> str:
    """The token that every POST has to carry; marimo writes it into the page."""
    page = await client.get(url, params=query)
    page.raise_for_status()
    found = re.search(r'"serverToken":\s*"([^"]*)"', page.text)
    if found is None:
        raise AssertionError(f"no server token in the page {page.url}")
    return found[1]


class _ElementParser(HTMLParser):
    """Collects each `<marimo-ui-element object-id=…>` with the tag inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._object_id: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "marimo-ui-element":
            self._object_id = attributes["object-id"]
            return
        if self._object_id is None:
            return
        arguments = {
            name.removeprefix("data-"): msgspec.json.decode(value)
            for name, value in attributes.items()
            if name.startswith("data-") and value
        }
        label = _plain(arguments.get("label") or "")
        self.elements.append(Element(self._object_id, tag, label, arguments))
        self._object_id = None


def _as_html(output: dict[str, Any]) -> str:
    data = output["data"]
    return data if isinstance(data, str) else html.escape(msgspec.json.encode(data).decode())


def _plain(markup: str) -> str:
    joined = re.sub(r"</?(?:a|b|code|em|i|span|strong)\b[^>]*>", "", markup)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", joined)).split())
