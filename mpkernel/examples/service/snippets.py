"""A service that runs visitors' Python snippets, each in a process of its own, with limits.

    pip install fastapi uvicorn mpkernel
    uvicorn snippets:service
    curl localhost:8000/run --json '{"code": "print(6 * 7)"}'

What a snippet does wrong ends its own process, and nothing else: the server and the other snippets
go on. Limits are not walls: a snippet can still read what the server's user can read. Let the
service run as a user of its own, in a container (`mpkernel docs security`).
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

from mpkernel import (
    Console,
    Done,
    Failure,
    HostPool,
    InputRequest,
    Outputs,
    PythonClient,
    Restarted,
    Settings,
)
from mpkernel.errors import MPKernelError

SECONDS = 5.0
OUTPUT_CHARACTERS = 64 * 1024
AT_ONCE = 4

LIMITS = Settings(
    processes_max=None,
    sessions_per_process=1,  # a process for each snippet,
    idle_retire_s=0,  # which ends with it, so that nothing is left for the next one
    standby=1,  # the next process is ready before it is needed
    memory_hard_bytes=256 * 2**20,
    watch_interval_s=0.25,
    max_threads=32,
    env_allow=("PATH", "LANG"),  # no secrets of the server
    stop_grace_s=0.5,
)


class Snippet(BaseModel):
    """What a visitor sends."""

    code: str = Field(max_length=100_000)


class Result(BaseModel):
    """What a visitor gets."""

    output: str = ""
    error: str = ""
    seconds: float = 0.0


class Runner:
    """Runs snippets, `AT_ONCE` at the same time; others wait for their turn."""

    def __init__(self, pool: HostPool, app: Path) -> None:
        self._pool = pool
        self._app = app
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def run(self, code: str) -> Result:
        async with self._turns:
            result, begin = Result(), time.monotonic()
            try:
                async with await PythonClient.open(self._pool, self._app) as client:
                    client.execute(code, cell="snippet")
                    async with asyncio.timeout(SECONDS):
                        await collect(client, result)
            except TimeoutError:
                result.error = f"stopped: it ran for more than {SECONDS:g} s"
            except MPKernelError as error:
                result.error = error.what
            result.seconds = round(time.monotonic() - begin, 3)
            return result


async def collect(client: PythonClient, result: Result) -> None:
    """Read what the snippet shows, until it has ended or has written too much."""
    async for message in client:
        match message:
            case Console():
                result.output += message.text
            case Outputs():
                texts = (one.data for one in message.figures if one.media_type == "text/plain")
                result.output += "".join(f"{text}\n" for text in texts)
            case Failure():
                result.error = message.traceback
            case Restarted():  # its process has died, and another one has taken its place
                result.error = message.reason
                return
            case InputRequest():
                client.answer(None)  # nobody is there: the end of input
            case Done():
                return
        if len(result.output) > OUTPUT_CHARACTERS:
            result.output = result.output[:OUTPUT_CHARACTERS]
            result.error = f"stopped: it wrote more than {OUTPUT_CHARACTERS} characters"
            return


class State(TypedDict):
    """What requests find in `request.state`."""

    runner: Runner


@asynccontextmanager
async def lifespan(service: FastAPI) -> AsyncIterator[State]:
    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder, "snippet.py")
        app.touch()  # a session needs an app; snippets need nothing in it
        async with HostPool(LIMITS) as pool:
            yield {"runner": Runner(pool, app)}


service = FastAPI(lifespan=lifespan)


@service.post("/run")
async def run(snippet: Snippet, request: Request) -> Result:
    runner: Runner = request.state.runner
    return await runner.run(snippet.code)
