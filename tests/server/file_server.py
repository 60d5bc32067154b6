"""A server whose kernels store files without a pause: `test_random_kills` ends parts of it.

It says "stored" for each file that it read, and opens again what was ended. A line on its standard
input closes a session of the app that the line names.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from mpkernel import HostPool, KernelSpec, Session, Settings
from mpkernel.aio.loops import run
from mpkernel.errors import MPKernelError

CHURN = KernelSpec(entry="files:churn")
# Apps that die so often would not be started any more, and nothing were left to kill.
SETTINGS = Settings(restart_limit=1000, restart_backoff_s=0)
SESSIONS = 2


async def use(pool: HostPool, app: str, sessions: list[Session]) -> None:
    """Be a client of `app`, for ever."""
    while True:
        with contextlib.suppress(MPKernelError):
            session = await pool.open_session(app, kernel=CHURN)
            sessions.append(session)
            try:
                async for _ in session:
                    read_one(pool)
                    print("stored", flush=True)
            finally:
                sessions.remove(session)


def read_one(pool: HostPool) -> None:
    for info in pool.files.snapshot().files[:1]:
        with contextlib.suppress(KeyError), pool.files.lease(info.key) as entry:
            assert sum(map(len, entry.chunks())) == info.size


async def close_on_demand(sessions: dict[str, list[Session]]) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        for session in sessions[line.decode().strip()][:1]:
            await session.close()


async def main(apps: list[str]) -> None:
    async with HostPool(SETTINGS) as pool, asyncio.TaskGroup() as clients:
        sessions: dict[str, list[Session]] = {app: [] for app in apps}
        for app in apps * SESSIONS:
            clients.create_task(use(pool, app, sessions[app]))
        await close_on_demand(sessions)
        raise KeyboardInterrupt  # nobody is there any more


run(main(sys.argv[1:]))
