"""A server of the embedded kernel with one session: it prints what it receives, as lines of JSON,
and sends what it reads. A test kills it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec

from mpkernel import HostPool, PythonClient, Settings


async def serve(directory: str, app: str, session_id: str, authority: str) -> None:
    settings = Settings(session_store=True, session_store_directory=directory)
    async with HostPool(settings) as pool:
        client = await PythonClient.open(pool, app, session_id=session_id, authority=authority)
        reading = asyncio.create_task(report(client))
        say("open")
        while line := await asyncio.to_thread(sys.stdin.readline):
            match msgspec.json.decode(line):
                case "run":
                    client.run_app()
                case ["values", values]:
                    client.set_values(values)
                case ["execute", code]:
                    client.execute(code, cell="extra")
                case "close":
                    await client.close()
                    say("closed")
    reading.cancel()


async def report(client: PythonClient) -> None:
    async for message in client:
        say(message)


def say(what: Any) -> None:
    print(msgspec.json.encode(what).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:5]))
