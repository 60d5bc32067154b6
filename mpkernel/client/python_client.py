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

from mpkernel.aio.awaited import to_be_awaited
from mpkernel.argument_checks import check_argument
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
    decode_command,
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
    """A session of the embedded kernel: commands down, messages up.

    Commands return at once and may come from any thread. Each can raise what `Session.send` raises:
    `SessionClosed`, `HostUnresponsive` or `ProtocolError`. Each message is one of
    `mpkernel.kernel.messages.Message`. One task at a time reads. Leaving `async with` closes the
    session.

    Args:
        session: one whose kernel is `python_kernel()`. `open` makes it.

    Attributes:
        session: as given.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    @classmethod
    @to_be_awaited("client = await PythonClient.open(…)")
    async def open(
        cls,
        pool: HostPool,
        app: str | os.PathLike[str],
        *,
        argv: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        session_id: str | None = None,
        authority: str = "",
    ) -> Self:
        """Open a session of `app` in the app's process, which is started when there is none.
        Returns when the kernel takes commands. Nothing of the app runs before `run_app`.

        When the process dies, the session comes back on another one: `Restarted` says so, and what
        is lost. If the app had been run, it is run again, and the values that were set are set
        again. `Settings.journal_bytes` bounds how much is remembered for that.

        Args:
            pool: who starts the process.
            app: the app's file: a Python script; "# %%" begins a cell.
            argv: `sys.argv` after the app's path. Default: nothing. Only the session that starts
                the process decides this, and `env`.
            env: the whole environment of the process. Default: the server's, as far as
                `Settings.env_allow` and `Settings.env_deny` let it through.
            session_id: the client's name for the session. Default: a random one. With
                `Settings.session_store`, a session of this name that an earlier server had comes
                back: `Restarted` is its first message.
            authority: to whom it is given back; see `HostPool.open_session`.

        Raises:
            AppNotFound, AppUnavailable, HostDied, HostStartError, KernelFailed, PoolClosed,
            SessionClosed, SessionNameTaken, SettingsError: see `HostPool.open_session`.
        """
        check_argument("pool", pool, HostPool, "a HostPool; the app's path follows it")
        kernel = python_kernel(argv=argv, env=env)
        journal = PythonJournal(kernel, max_bytes=pool.settings_of(app).journal_bytes)
        return cls(
            await pool.open_session(
                app, kernel=kernel, session_id=session_id, journal=journal, authority=authority
            )
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """The messages, until the session is over; raises as `next` does, but for
        `StopAsyncIteration`."""
        async for _, payload in self.session:
            yield decode_message(payload)

    async def next(self) -> Message:
        """The next message. Waits for it without a limit.

        Raises:
            StopAsyncIteration: the session is over.
            HostDied: the app's process ended more than once because of what this session did.
            AppUnavailable: the app's process ended too often.
            KernelFailed: the kernel ended with an exception, or was interrupted twice in a second.
            PoolClosed: the pool was closed.
            ProtocolError: the kernel sent something that is not a message.
        """
        return decode_message((await anext(self.session)).payload)

    def run_app(self) -> None:
        """Run all cells of the app, in the order of the file, until one fails. The file is read
        anew each time. `Done` tells the end of each cell."""
        self._send(Channel.CONTROL, RunApp())

    def execute(self, code: str, *, cell: str) -> None:
        """Run code in the session's namespace.

        Args:
            code: statements. The value of a last expression is shown, as `Outputs`.
            cell: the name that messages about this code have; what a cell of this name showed
                before is removed.

        Raises:
            TypeError: one of them is not a string.
        """
        _expect(str, code=code, cell=cell)
        self._send(Channel.CONTROL, Execute(code, cell))

    def set_values(self, values: dict[str, Any]) -> None:
        """Assign names in the session's namespace. Then the cells of the app that read one of them
        run again, in the order of the file, and the cells that read what those define. What is set
        while a command runs is merged into one step.

        Args:
            values: by name. A value is what msgpack carries: None, bool, float, str, bytes, an int
                from -2**63 to 2**64 - 1, or a list or dict of such. A tuple or set arrives as a
                list.

        Raises:
            TypeError, OverflowError, UnicodeEncodeError: msgpack cannot carry one of them, or
                a name is not a string. Nothing is sent then.
            ProtocolError: they are nested too deeply, or too large for a message.
        """
        for name in values:
            _expect(str, name=name)
        payload = encode(SetValues(values))
        # The journal gets values of its own: the caller may change these, and send them again.
        self.session.send(Channel.UI_ELEMENT, payload, decode_command(payload))

    def complete(self, request: int, code: str, cursor: int) -> None:
        """Ask how a name could go on. `Completions` with the same number answers, also while a cell
        runs; nothing of the user's code is called for it.

        Args:
            request: a number of your own, to know the answer by.
            code: the text that is edited, whole or up to the cursor.
            cursor: how many characters of `code` (code points, as Python counts a `str`) stand
                before the cursor.

        Raises:
            TypeError: one of them is of another type.
        """
        _expect(int, request=request, cursor=cursor)
        _expect(str, code=code)
        self._send(Channel.COMPLETION, Complete(request, code, cursor))

    def answer(self, text: str | None) -> None:
        """Answer an `InputRequest`. An answer that comes before its request waits for it.

        Args:
            text: the line, without its end. None is the end of input: `input()` raises `EOFError`.

        Raises:
            TypeError: it is neither.
        """
        if text is not None:
            _expect(str, text=text)
        self._send(Channel.INPUT, Answer(text))

    def interrupt(self) -> None:
        """Stop what runs, as Ctrl-C does: it gets a `KeyboardInterrupt`, and its cell's `Done` says
        "interrupted". When nothing runs, nothing happens. A second one within a second, while it
        still runs, ends the session with `KernelFailed`. `InterruptPending` says that the code is
        where no interrupt reaches it for now."""
        self._send(Channel.CONTROL, Interrupt())

    async def close(self) -> None:
        """Close the session; see `Session.close`. Idempotent."""
        await self.session.close()

    def _send(self, channel: Channel, command: Command) -> None:
        self.session.send(channel, encode(command), command)


def _expect(kind: type, **given: object) -> None:
    """Refuse an argument that the kernel would have to drop: the client would wait for ever for an
    answer.

    Raises:
        TypeError: an argument is not of this type.
    """
    for name, value in given.items():
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")
