"""A server that talks to apps in other Pythons, one app in each at the same time; run as a program.

    conversing_server.py FOLDER PYTHON…

It prints a line of JSON for each Python: what came of each part of the conversation.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from mpkernel import (
    Channel,
    Console,
    Done,
    Failure,
    HostPool,
    KernelSpec,
    PythonClient,
    Restarted,
    Settings,
)
from mpkernel.server.operations.crashes import kept_reports, read_report

FILES = Path(__file__).parent / "apps" / "files.py"
ABOUT = "import sys; print('%d.%d' % sys.version_info[:2], sys.prefix)"
LOOP = "print('in the loop', flush=True)\nwhile True: pass"


async def told(client: PythonClient) -> list[object]:
    """All messages up to the next `Done`."""
    found: list[object] = []
    while not found or not isinstance(found[-1], Done):
        found.append(await client.next())
    return found


async def said(client: PythonClient, code: str) -> str:
    client.execute(code, cell="cell")
    return "".join(one.text for one in await told(client) if isinstance(one, Console)).strip()


async def interrupted(client: PythonClient) -> str:
    client.execute(LOOP, cell="cell")
    while not isinstance(await client.next(), Console):
        pass
    client.interrupt()
    return next(repr(one) for one in await told(client) if isinstance(one, Failure))


async def restarted(client: PythonClient) -> str:
    """A process that dies is followed by another: what that says of itself."""
    os.kill(client.session.pid, signal.SIGSEGV)
    while not isinstance(await client.next(), Restarted):
        pass
    return await said(client, ABOUT)


async def file_of(pool: HostPool, app: Path, python: str) -> int:
    """How long the virtual file is that the server reads."""
    kernel = KernelSpec(entry="files:obey", executable=python)
    session = await pool.open_session(app, kernel=kernel)
    session.send(Channel.CONTROL, b"file = kernel.files.create(bytes(99_999)); result = file.key")
    key = (await anext(session)).payload.decode().strip("'")
    with pool.files.lease(key) as entry:
        size = sum(len(chunk) for chunk in entry.chunks())
    await session.close()
    return size


async def converse(folder: Path, python: str) -> dict[str, object]:
    folder.mkdir()
    app = folder / "app.py"
    app.write_text("")
    (folder / "files.py").write_text(FILES.read_text())
    async with HostPool(Settings(python=python, crash_reports=10)) as pool:
        client = await PythonClient.open(pool, app)
        about = await said(client, ABOUT)
        facts: dict[str, object] = {
            "about": about,
            "interrupt": await interrupted(client),
            "again": await restarted(client) == about,
            "file": await file_of(pool, folder / "files.py", python),
        }
        await client.close()
    (report,) = [
        one for path in kept_reports() if (one := read_report(path)) and one.app == str(app)
    ]
    facts["report"] = [
        report.reason,
        report.python,
        "Current thread" in report.faults or report.faults,
    ]
    return facts


async def main() -> None:
    folder, *pythons = sys.argv[1:]
    conversations = [
        converse(Path(folder) / str(number), python) for number, python in enumerate(pythons)
    ]
    for facts in await asyncio.gather(*conversations):
        print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
