"""Many sessions and threads at once, and one that prints without end."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict

import psutil
import pytest
from kernel.conftest import Client, OpenApp, of, printed

from mpkernel import HostPool
from mpkernel.kernel.messages import Console, Done, Outputs

SESSIONS = 8
THREADS = 8
LINES = 400

STORM = f"""
import gc, os, threading
from mpkernel.kernel import outputs
from mpkernel.kernel.threads import Thread

class Cycle:
    def __init__(self, thread, number):
        self.me, self.thread, self.number = self, thread, number
    def __del__(self):
        print(f"<del {{session}} {{self.thread}} {{self.number}}>")

def storm(thread):
    for number in range({LINES}):
        print(f"<line {{session}} {{thread}} {{number}}>")
        if number % 20 == 0:
            outputs.append(f"shown {{session}} {{thread}} {{number}}")
        if number % 50 == 0:
            Cycle(thread, number)
        if number == 200 and thread == 0:
            if os.fork() == 0:
                os._exit(0)
            os.wait()

threads = [Thread(target=storm, args=(n,)) for n in range({THREADS})]
for thread in threads: thread.start()
for thread in threads: thread.join()
collected = gc.collect()
"""


async def test_every_line_of_every_thread_arrives_once_whole_and_in_order(
    open_app: OpenApp,
) -> None:
    clients = [await open_app() for _ in range(SESSIONS)]

    async def storm(session: int, client: Client) -> None:
        await client.run(f"session = {session}")
        messages = await client.run(STORM)
        assert of(messages, Done)[-1].outcome == "ok", messages[-3:]
        pieces = re.findall(r"<([^<>]*)>", printed(messages))
        left = re.sub(r"<[^<>]*>|\n", "", printed(messages))
        assert left == "", left[:200]
        lines: dict[str, list[int]] = defaultdict(list)
        for piece in pieces:
            kind, of_session, thread, number = piece.split()
            assert int(of_session) == session
            lines[f"{kind} {thread}"].append(int(number))
        for thread in range(THREADS):
            assert lines[f"line {thread}"] == list(range(LINES))
            assert sorted(lines[f"del {thread}"]) == list(range(0, LINES, 50))
        shown = [figure.data for figure in of(messages, Outputs)[-1].figures]
        assert len(shown) == THREADS * LINES // 20
        for thread in range(THREADS):
            mine = [text for text in shown if text.startswith(f"'shown {session} {thread} ")]
            assert mine == [f"'shown {session} {thread} {n}'" for n in range(0, LINES, 20)]

    async with asyncio.TaskGroup() as storms:
        for session, client in enumerate(clients):
            storms.create_task(storm(session, client))


@pytest.mark.parametrize("how", ["print", "write", "buffer"])
async def test_a_session_that_prints_unread_holds_itself_alone(open_app: OpenApp, how: str) -> None:
    line = {
        "print": "print('x' * 1000)",
        "write": "sys.stdout.write('x' * 100_000)",
        "buffer": "sys.stdout.buffer.write(b'x' * 100_000)",
    }[how]
    flood, other = await open_app(), await open_app()
    server, host = psutil.Process(), psutil.Process(other.session.host.pid)
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
