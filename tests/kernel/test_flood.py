"""A session that prints without end, while nobody reads it."""

from __future__ import annotations

import psutil
import pytest
from kernel.conftest import OpenApp

from mpkernel import HostPool
from mpkernel.kernel.messages import Console, Done


@pytest.mark.parametrize("how", ["print", "write", "buffer"])
async def test_a_session_that_prints_unread_holds_itself_alone(open_app: OpenApp, how: str) -> None:
    line = {
        "print": "print('x' * 1000)",
        "write": "sys.stdout.write('x' * 100_000)",
        "buffer": "sys.stdout.buffer.write(b'x' * 100_000)",
    }[how]
    flood, other = await open_app(), await open_app()
    server, host = psutil.Process(), psutil.Process(other.session.pid)
    before = server.memory_info().rss, host.memory_info().rss
    flood.execute(f"import sys\nprint('begun')\nfor _ in range(10**6): {line}", cell="flood")
    await flood.wait_for(Console)
    for number in range(100):
        assert await other.text(f"print({number})") == f"{number}\n"
    after = server.memory_info().rss, host.memory_info().rss
    for early, late in zip(before, after, strict=True):
        assert late - early < 64 * 1024 * 1024
    flood.interrupt()
    assert (await flood.wait_for(Done)).outcome == "interrupted"


async def test_a_client_that_leaves_ends_a_session_that_waits_for_it(
    open_app: OpenApp, pool: HostPool
) -> None:
    flood, other = await open_app(), await open_app()
    flood.execute("print('begun')\nwhile True: print('x' * 1000)", cell="flood")
    await flood.wait_for(Console)
    await flood.close()
    assert await other.text("print('here')") == "here\n"
