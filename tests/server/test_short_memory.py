"""When shared memory is short, no host keeps what it does not use."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from server.conftest import APPS

_MOUNT_AND_RUN = 'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"'

_FIVE_OF_EIGHT_MIB_EACH = '''
import asyncio, sys
from mpkernel import Channel, HostPool, KernelSpec

WAIT = """import time
while not kernel.files._files.storage()._recycler.free_bytes:
    time.sleep(0.01)
"""
CREATE = """
file = kernel.files.create(bytes(5 << 20))
result = file.key
"""

async def do(session, code):
    session.send(Channel.CONTROL, code.encode())
    return eval((await anext(session)).payload.decode())

async def main():
    async with HostPool() as pool:
        first, other = [
            await pool.open_session(app, kernel=KernelSpec(entry="files:obey"))
            for app in sys.argv[1:]
        ]
        for session in (first, other, first):
            for _ in range(2):  # the second time the server maps the block
                key = await do(session, CREATE)
                with pool.files.lease(key) as entry:
                    print(entry.source.kind, sum(map(len, entry.chunks())))
                await do(session, "del file")
                if entry.source.kind == "block":
                    await do(session, WAIT)

asyncio.run(main())
'''


@pytest.mark.skipif(sys.platform != "linux", reason="a mount namespace is Linux's")
def test_what_one_process_keeps_to_use_again_another_gets(tmp_path: Path) -> None:
    other = shutil.copy(APPS / "files.py", tmp_path / "other.py")
    shutil.copy(APPS / "files.py", tmp_path / "files.py")
    script = [sys.executable, "-c", _FIVE_OF_EIGHT_MIB_EACH, str(tmp_path / "files.py"), other]
    for options in (["--mount"], ["--mount", "--map-root-user"]):
        command = ["unshare", *options, "sh", "-c", _MOUNT_AND_RUN, "sh"]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            break
    else:
        pytest.fail("no mount namespace can be had here")
    end = subprocess.run(
        [*command, *script], capture_output=True, text=True, timeout=120, check=False
    )
    assert end.stdout.splitlines() == [f"block {5 << 20}"] * 6, end.stderr
