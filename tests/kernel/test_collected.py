"""Objects that print when they are collected, on whatever thread the garbage collector runs."""

from __future__ import annotations

import asyncio

import pytest
from kernel.conftest import Client, OpenApp, of, printed
from waiting import PATIENCE_S

from mpkernel.kernel.messages import Done

SESSIONS = 4
OBJECTS = 1000

# At this threshold nearly every list, tuple or object that is made has the collector run: on any
# thread, within the kernel's own steps, and with objects of whichever session.
OBJECTS_THAT_PRINT = """
import gc
from threading import Thread
from mpkernel.kernel import outputs

class Cycle:
    def __init__(self, number):
        self.me, self.number = self, number

    def __del__(self):
        print("<", session, self.number, "x" * 20_000, ">")

def make():
    for number in range(objects):
        Cycle(number)

def show():
    while maker.is_alive():
        outputs.replace("x" * 1000)
        print("y" * 2_000)

gc.set_threshold(1)
maker = Thread(target=make)
threads = [maker, *(Thread(target=show) for _ in range(3))]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


async def test_what_they_print_arrives_and_holds_nobody(open_app: OpenApp) -> None:
    clients = [await open_app() for _ in range(SESSIONS)]
    text = [""] * SESSIONS

    async def run(session: int, client: Client) -> None:
        await client.run(f"session, objects = {session}, {OBJECTS}")
        messages = await client.run(OBJECTS_THAT_PRINT)
        assert of(messages, Done)[-1].outcome == "ok", messages[-5:]
        text[session] += printed(messages)

    try:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as runs:
            for session, client in enumerate(clients):
                runs.create_task(run(session, client))
    except TimeoutError:
        pytest.fail("the process hangs")
    for _ in range(2):  # one session's objects may be collected on the thread of another
        for session, client in enumerate(clients):
            text[session] += printed(await client.run("collected = gc.collect()"))
    for session in range(SESSIONS):
        lines = [line for line in text[session].splitlines() if line.startswith("<")]
        assert len(lines) == OBJECTS
        assert set(lines) == {f"< {session} {n} {'x' * 20_000} >" for n in range(OBJECTS)}
