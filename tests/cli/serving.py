"""`serving.py`: runs a pool with a real app in the environment in which it is started. The app
answers, makes a virtual file of 16 MiB, is killed, and answers again. The results are printed as
JSON."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from mpkernel import Channel, HostPool, KernelSpec, Session
from mpkernel.aio.loops import run
from mpkernel.errors import HostDied

APP = """
import hashlib

def main(kernel):
    for message in kernel:
        if message.payload != b"file":
            kernel.send(message.payload)
            continue
        data = b"0123456789abcdef" * 2**20
        file = kernel.files.create(data, media_type="text/plain", extension="txt")
        kernel.send(f"{file.key} {hashlib.sha256(data).hexdigest()}".encode())
"""


async def ask(session: Session, question: bytes) -> bytes:
    session.send(Channel.CONTROL, question)
    return bytes((await anext(session)).payload)


async def main(app: str) -> dict[str, object]:
    kernel = KernelSpec(entry="app:main")
    found: dict[str, object] = {"loop": type(asyncio.get_running_loop()).__module__}
    async with HostPool() as pool:
        session = await pool.open_session(app, kernel=kernel)
        found["answer"] = (await ask(session, b"well?")).decode()
        key, digest = (await ask(session, b"file")).decode().split()
        with pool.files.lease(key) as file:
            read = b"".join(file.chunks())
            found["kind"] = file.source.kind
        found["intact"] = hashlib.sha256(read).hexdigest() == digest
        os.kill(pool.hosts[0].pid, signal.SIGKILL)
        try:
            await anext(session)
        except HostDied as died:
            found["died"] = str(died)
        again = await pool.open_session(app, kernel=kernel)
        found["again"] = (await ask(again, b"again?")).decode()
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "app.py")
        path.write_text(APP)
        json.dump(run(main(str(path))), sys.stdout)
