"""`PythonClient`: a server's end of a session that runs the embedded Python kernel.

async with await PythonClient.open(pool, "app.py") as client:
    client.run_app()
    async for message in client:
        ...
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

from mpkernel.client.python_journal import PythonJournal
from mpkernel.kernel.messages import (
    Answer,
    Command,
    Complete,
    Execute,
    Interrupt,
    Message,
    RunApp,
    SetValues,
    decode_message,
    encode,
)
from mpkernel.server.pool import HostPool
from mpkernel.server.sessions.session import Session
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel

__all__ = ["PythonClient", "python_kernel"]


def python_kernel(*, argv: Sequence[str] = (), env: Mapping[str, str] | None = None) -> KernelSpec:
    """The embedded kernel, for `HostPool.open_session`; arguments as `KernelSpec`'s."""
    return KernelSpec(entry="mpkernel.kernel.main:run", argv=tuple(argv), env=env)


class PythonClient:
    """Commands down, messages up. Commands return at once, from any thread; they raise as
    `Session.send` does. Messages: see `mpkernel.kernel.messages`.

    Args:
        session: one that runs `python_kernel()`.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    @classmethod
    async def open(
        cls,
        pool: HostPool,
        app: str | os.PathLike[str],
        *,
        argv: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        session_id: str | None = None,
    ) -> Self:
        """Open a session of `app`; see `HostPool.open_session`. When the app's process dies, the
        session comes back on another: `Restarted` says so, and what is lost; the app is run again
        and the values that were set are set again."""
        kernel = python_kernel(argv=argv, env=env)
        journal = PythonJournal(kernel, max_bytes=pool.settings_of(app).journal_bytes)
        return cls(
            await pool.open_session(app, kernel=kernel, session_id=session_id, journal=journal)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Message]:
        async for _, payload in self.session:
            yield decode_message(payload)

    async def next(self) -> Message:
        """The next message.

        Raises:
            StopAsyncIteration: the session is over.
            HostDied: the app's process ended, and again on what it did.
            AppUnavailable: the app's process ended too often.
            KernelFailed: the kernel ended with an exception.
        """
        return decode_message((await anext(self.session)).payload)

    def run_app(self) -> None:
        """Run all cells of the app."""
        self._send(Channel.CONTROL, RunApp())

    def execute(self, code: str, *, cell: str) -> None:
        """Run code as the cell of this name."""
        self._send(Channel.CONTROL, Execute(code, cell))

    def set_values(self, values: dict[str, Any]) -> None:
        """Assign names, and have what reads them run again. Values are what msgpack carries."""
        self._send(Channel.UI_ELEMENT, SetValues(values))

    def complete(self, request: int, code: str, cursor: int) -> None:
        """Ask how a name could go on; `Completions` with the same number answers."""
        self._send(Channel.COMPLETION, Complete(request, code, cursor))

    def answer(self, text: str | None) -> None:
        """Answer an `InputRequest`; None is the end of input."""
        self._send(Channel.INPUT, Answer(text))

    def interrupt(self) -> None:
        """Stop what runs. A second one within a second ends the session."""
        self._send(Channel.CONTROL, Interrupt())

    async def close(self) -> None:
        """Close the session. Idempotent."""
        await self.session.close()

    def _send(self, channel: Channel, command: Command) -> None:
        self.session.send(channel, encode(command), command)
