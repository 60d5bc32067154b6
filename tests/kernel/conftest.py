"""Fixtures of the embedded kernel's tests: clients of real hosts."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mpkernel import HostPool
from mpkernel.client import PythonClient
from mpkernel.kernel.messages import Console, Done, Message, Status

OpenApp = Callable[..., Awaitable["Client"]]


class Client(PythonClient):
    """A client that keeps all messages that it received."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.messages: list[Message] = []

    async def wait_for(self, kind: type, **fields: object) -> Any:
        """The next message of this kind with these fields."""
        while True:
            message = await self.next()
            self.messages.append(message)
            if isinstance(message, kind) and all(
                getattr(message, name) == value for name, value in fields.items()
            ):
                return message

    async def wait_idle(self) -> list[Message]:
        """All messages until the kernel has nothing more to do."""
        self.messages.clear()
        await self.wait_for(Status, state="busy")
        await self.wait_for(Status, state="idle")
        return list(self.messages)

    async def run(self, code: str, cell: str = "cell") -> list[Message]:
        """Execute code to its end. Returns the messages that came."""
        self.execute(textwrap.dedent(code), cell=cell)
        return await self.wait_idle()

    async def text(self, code: str) -> str:
        """Execute code that must end without an error. Returns what it printed."""
        messages = await self.run(code)
        assert of(messages, Done)[-1].outcome == "ok", messages
        return printed(messages)


async def until_ended(other: Client, name: str = "session-1") -> None:
    """Return when the thread of this name, a session's, has ended in the process of another."""
    await other.text(
        "import threading\n"
        "for thread in threading.enumerate():\n"
        f"    if thread.name == {name!r}: thread.join()"
    )


def of(messages: list[Message], kind: type) -> list[Any]:
    """The messages of one kind."""
    return [message for message in messages if isinstance(message, kind)]


def printed(messages: list[Message], stream: str = "stdout") -> str:
    """What was printed, as one text."""
    return "".join(m.text for m in of(messages, Console) if m.stream == stream)


@pytest.fixture
async def pool() -> AsyncIterator[HostPool]:
    async with HostPool() as pool:
        yield pool


@pytest.fixture
async def open_app(pool: HostPool, tmp_path: Path) -> OpenApp:
    """Opens a session of an app with this source."""

    async def opened(source: str = "", *, name: str = "app.py", **spec: Any) -> Client:
        app = tmp_path / name
        if not app.exists():
            app.write_text(textwrap.dedent(source))
        client = await Client.open(pool, app, **spec)
        await client.wait_for(Status, state="idle")
        return client

    return opened


@pytest.fixture
async def client(open_app: OpenApp) -> Client:
    """A session of an empty app."""
    return await open_app()
