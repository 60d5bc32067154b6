"""A server that does all that servers do and cannot unpickle; `test_no_pickle` looks at it.

What came of it is printed as JSON, when an operator has stopped it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from no_unpickling import forbid_unpickling

from mpkernel import Channel, HostPool, KernelSpec, PythonClient, Settings
from mpkernel.aio.loops import run
from mpkernel.errors import ProtocolError
from mpkernel.kernel.messages import Completions, Console, Restarted

SETTINGS = Settings(
    snapshot=True,
    control=True,
    crash_reports=10,
    standby=1,
    restart_backoff_s=0.01,
    watch_interval_s=0.1,
    ping_interval_s=0.1,
)
ECHO = """
import pickle

def main(kernel):
    for message in kernel:
        if message.payload == b"file":
            file = kernel.files.create(b"content", media_type="text/plain", extension="txt")
            kernel.send(file.key.encode())
            kernel.receive()
        else:
            kernel.send(pickle.loads(pickle.dumps(message.payload)))
"""
NOTEBOOK = "n = 1\n# %%\nimport pickle\nprint('n is', pickle.loads(pickle.dumps(n)))\n"


async def wait_for(client: PythonClient, kind: type, **fields: object) -> Any:
    async for message in client:
        if isinstance(message, kind) and all(
            getattr(message, name) == value for name, value in fields.items()
        ):
            return message
    raise AssertionError("the session ended")


async def main(folder: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, source in (("echo.py", ECHO), ("notebook.py", NOTEBOOK)):
        with open(os.path.join(folder, name), "w") as file:
            file.write(source)
    async with HostPool(SETTINGS) as pool:
        await pool.standby.wait_ready()
        echo = await pool.open_session(f"{folder}/echo.py", kernel=KernelSpec(entry="echo:main"))
        for size in (0, 10, 10_000_000):
            echo.send(Channel.CONTROL, bytes(size))
            assert len((await anext(echo)).payload) == size
        echo.send(Channel.CONTROL, b"file")
        key = (await anext(echo)).payload.decode()
        with pool.files.lease(key) as entry:
            found["file"] = b"".join(entry.chunks()).decode()
        echo.send(Channel.CONTROL, b"done")
        client = await PythonClient.open(pool, f"{folder}/notebook.py")
        client.run_app()
        client.set_values({"n": 42})
        await wait_for(client, Console, text="n is 42\n")
        client.complete(1, "pickle.loa", 10)
        await wait_for(client, Completions)
        notebook = next(host for host in pool.hosts if host.app.endswith("notebook.py"))
        os.kill(notebook.pid, signal.SIGKILL)
        found["restarted"] = (await wait_for(client, Restarted)).reason
        await wait_for(client, Console, text="n is 42\n")
        print("ready\n", end="", flush=True)
        found["restarted by"] = (await wait_for(client, Restarted)).reason
        await wait_for(client, Console, text="n is 42\n")
        bomb = KernelSpec(entry="unpickling_server:send_a_pickle")
        session = await pool.open_session(__file__, kernel=bomb)
        try:
            await anext(session)
        except ProtocolError as error:
            found["pickle"] = str(error)
        print("restarted\n", end="", flush=True)
        while not pool.closed:
            await asyncio.sleep(0.02)
    return found


def send_a_pickle(kernel: Any) -> None:
    """In a host: send one up, where the server expects a message of its own."""
    import pickle

    from mpkernel.host.kernel import hosted_half
    from mpkernel.wire.frames import encode_header

    class Bomb:
        def __reduce__(self) -> object:
            return os._exit, (66,)

    payload = pickle.dumps(Bomb())
    hosted_half(kernel)._writer._write(
        (encode_header(Channel.MANAGEMENT, kernel.number, len(payload)), payload),
        len(payload) + 9,
    )


if __name__ == "__main__":
    forbid_unpickling(sys.argv[2])
    print(json.dumps(run(main(sys.argv[1]))) + "\n", end="", flush=True)
