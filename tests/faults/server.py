"""`server.py SETTINGS`: a server program that carries out instructions, one JSON line each, and
answers each with a line. Its one session `steady` exchanges numbered messages with an app all the
time."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mpkernel import Channel, HostPool, KernelSpec, PythonClient, Session, Settings
from mpkernel.aio.loops import run
from mpkernel.errors import MPKernelError
from mpkernel.kernel.messages import Completions, Console, Done, Failure, Message, Restarted
from shm import ShmError

HERE = Path(__file__).parent


class Steady:
    """A session whose every message is answered once, in order, for as long as it goes."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.count = 0
        self.task = asyncio.create_task(self._go())

    async def _go(self) -> None:
        while True:
            number = b"%d" % (self.count + 1)
            self.session.send(Channel.CONTROL, number)
            answer = (await anext(self.session)).payload
            if answer != number:
                raise AssertionError(f"{answer!r} came, {number!r} was due")
            self.count += 1
            await asyncio.sleep(0.005)


class Server:
    """What can be asked of it; each method is a command."""

    def __init__(self, pool: HostPool) -> None:
        self.pool = pool
        self.clients: dict[str, PythonClient] = {}
        self.steady: Steady | None = None

    async def begin(self) -> None:
        """Start `steady`."""
        kernel = KernelSpec(entry="echo:main")
        self.steady = Steady(await self.pool.open_session(HERE / "apps" / "echo.py", kernel=kernel))

    async def exchanged(self) -> int:
        """How many messages `steady` has had answered, one more than before."""
        assert self.steady is not None
        before = self.steady.count
        while self.steady.count <= before:
            if self.steady.task.done():
                self.steady.task.result()
            await asyncio.sleep(0.001)
        return self.steady.count

    async def open(self, name: str, app: str = "one.py") -> None:
        """Open a session."""
        path = HERE / "apps" / app
        self.clients[name] = await PythonClient.open(self.pool, path, session_id=name)

    async def execute(self, name: str, code: str) -> dict[str, Any]:
        """Run code in a session. Returns all messages until the code was done."""
        client = self.clients[name]
        client.execute(code, cell="cell")
        return await self.until_done(name)

    async def complete(self, name: str, code: str) -> list[str]:
        """The completions at the end of this code."""
        client = self.clients[name]
        client.complete(1, code, len(code))
        while not isinstance(message := await client.next(), Completions):
            pass
        return message.matches

    async def assign(self, name: str, size: int) -> None:
        """Send a large message: so many bytes, as the value of `blob`."""
        self.clients[name].set_values({"blob": bytes(size)})

    async def until_done(self, name: str) -> dict[str, Any]:
        """All that comes in a session until a command is done."""
        found: dict[str, Any] = {"text": "", "failures": [], "tracebacks": [], "restarted": []}
        while True:
            message: Message = await self.clients[name].next()
            match message:
                case Console():
                    found["text"] += message.text
                case Failure():
                    found["failures"].append(f"{message.error}: {message.message}")
                    found["tracebacks"].append(message.traceback)
                case Restarted():
                    found["restarted"].append(message.reason)
                case Done():
                    return {**found, "outcome": message.outcome}

    async def restarted(self, name: str) -> str:
        """Wait for the notice that a session comes back; give the reason."""
        while not isinstance(message := await self.clients[name].next(), Restarted):
            pass
        return message.reason

    async def hosts(self, app: str) -> list[int]:
        """The processes of an app that live."""
        return [host.pid for host in self.pool.hosts if host.name == app and host.is_alive]

    async def standby(self) -> list[int]:
        """The processes that are ready for an app."""
        return self.pool.standby.pids

    async def read(self, key: str) -> dict[str, Any]:
        """Read a virtual file."""
        with self.pool.files.lease(key) as file:
            data = b"".join(file.chunks())
            return {
                "kind": file.source.kind,
                "size": len(data),
                "digest": hashlib.sha256(data).hexdigest(),
            }

    async def end(self, name: str) -> None:
        """Close a session."""
        await self.clients.pop(name).close()


async def answered(number: int, work: Callable[..., Awaitable[object]], given: Any) -> None:
    try:
        answer: dict[str, Any] = {"result": await work(**given)}
    except (MPKernelError, ShmError, OSError, RuntimeError, AssertionError) as error:
        answer = {
            "error": type(error).__name__,
            "what": str(error),
            "remedy": getattr(error, "remedy", ""),
        }
    say({"number": number, **answer})


def say(answer: dict[str, Any]) -> None:
    """A line, in one piece: apps' text is written by another thread."""
    print(json.dumps(answer) + "\n", end="", flush=True)


async def main(settings: Settings) -> None:
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    tasks: set[asyncio.Task[None]] = set()
    async with HostPool(settings) as pool:
        server = Server(pool)
        say({"number": 0, "result": os.getpid()})
        async for line in commands:
            given = json.loads(line)
            work = getattr(server, given.pop("do"))
            task = asyncio.create_task(answered(given.pop("number"), work, given))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in tasks:
            task.cancel()
        if server.steady is not None:
            server.steady.task.cancel()


if __name__ == "__main__":
    run(main(Settings(**json.loads(sys.argv[1]))))
