"""Ten seconds of everything at once: every line and every output arrives once, in the order of its
thread, at its own session and in one piece, and nothing hangs."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Collection
from itertools import zip_longest
from typing import Any

import pytest
from kernel.conftest import Client, OpenApp, printed
from waiting import LONG_PATIENCE_S

from mpkernel.kernel.messages import Console, Done, Failure, Message, Outputs, Status

SESSIONS = 8
THREADS = 8
STORM_S = 10.0
SHOWN_AT_ONCE = 3

# Threads number what they print and show. So does the cell, which is interrupted: what it was at
# (`unsure_…`) may have come about or not, and so may a `__del__` that ran on its thread.
STORM = """
import gc, os, sys, time, warnings
from mpkernel.kernel import outputs
from mpkernel.kernel.threads import Thread

warnings.simplefilter("ignore", DeprecationWarning)  # of forks in a process with threads
deadline = time.monotonic() + storm_s
host = os.getpid()
printed, shown = dict.fromkeys(threads, 0), dict.fromkeys(threads, 0)
made, deleted, exit_codes = [], [], []
interrupted, unsure_lines, unsure_outputs = 0, [], []

class Cycle:
    def __init__(self, number):
        self.me, self.number = self, number
        made.append(number)

    def __del__(self):
        if os.getpid() == host:
            print("<del", session, 0, self.number, ">")
            deleted.append(self.number)

def print_line(thread):
    number = printed[thread]
    printed[thread] += 1
    if number % 2:
        print("<line", session, thread, number, "=" * (number % 60) + ">")
    else:
        sys.stdout.write(f"<line {session} {thread} {number} {'=' * (number % 60)}>\\n")

def show(thread):
    number = shown[thread]
    shown[thread] += 1
    outputs.append(f"{session} {thread} {number}")
    outputs.remove(f"{session} {thread} {number - shown_at_once}")

def fork():
    child = os.fork()
    if not child:
        print(f"<child {session} 0 0 >", flush=True)
        os._exit(0)
    exit_codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

def storm(thread):
    fork_at = time.monotonic() + threads.index(thread)
    while time.monotonic() < deadline:
        print_line(thread)
        if printed[thread] % 20 == 0:
            show(thread)
        if printed[thread] % 100 == 0:
            Cycle(printed[thread] * len(threads) + threads.index(thread))
        if time.monotonic() > fork_at:
            fork_at += len(threads) / 2
            fork()

running = [Thread(target=storm, args=(thread,)) for thread in threads if thread != "main"]
for thread in running: thread.start()

asked, ask_at = 0, time.monotonic() + 1
while time.monotonic() < deadline or asked > interrupted:
    try:
        while time.monotonic() < deadline or asked > interrupted:
            print_line("main")
            if printed["main"] % 20 == 0:
                show("main")
            if asked == interrupted and ask_at < time.monotonic() < deadline:
                asked += 1
                sys.stdout.write(f"<interrupt {session} main {asked} >\\n")
    except KeyboardInterrupt:
        unsure_lines.append(printed["main"] - 1)
        unsure_outputs.append(shown["main"] - 1)
        interrupted += 1
        ask_at = time.monotonic() + 1.2  # two within a second would end the session

for thread in running: thread.join()
collected = gc.collect()
"""

REPORT = """
import json
told = {"printed", "shown", "made", "deleted", "exit_codes", "interrupted",
        "unsure_lines", "unsure_outputs"}
print(json.dumps({name: value for name, value in globals().items() if name in told}))
"""

LINE = re.compile(r"<(line|del|child|interrupt) (\d+) (\w+) (\d+) (=*)>")
OUTPUT = re.compile(r"'(\d+) (\w+) (\d+)'")


class Heard:
    """The messages that one client received, in their order."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.lines: dict[str, list[int]] = defaultdict(list)  # by thread
        self.outputs: dict[str, list[int]] = defaultdict(list)  # by thread
        self.deleted: list[int] = []
        self.interrupts_asked = 0
        self.is_over = False
        self._stderr = ""
        self._unfinished = ""
        self._shows: Collection[str] = ()

    def take(self, message: Message) -> None:
        match message:
            case Console(stream="stderr"):
                self._stderr += message.text
            case Console():
                *lines, self._unfinished = (self._unfinished + message.text).split("\n")
                for line in lines:
                    self._take_line(line)
            case Outputs():
                shows = [figure.data for figure in message.figures]
                for output in shows:
                    if output not in self._shows:
                        self._take_output(output)
                self._shows = shows
            case Failure():
                self._stderr += f"{message}\n"
            case Done():
                assert message.outcome == "ok", f"session {self.session}: {self._stderr}{message}"
            case _:
                self.is_over = message == Status("idle")

    def assert_complete(self, told: dict[str, Any]) -> None:
        """Check that all that the code has printed and shown has arrived."""
        assert self._stderr == ""
        assert self._unfinished == ""
        for thread, count in told["printed"].items():
            unsure = told["unsure_lines"] if thread == "main" else []
            self._assert_all(f"lines of {thread}", self.lines[thread], count, unsure)
        for thread, count in told["shown"].items():
            unsure = told["unsure_outputs"] if thread == "main" else []
            self._assert_all(f"outputs of {thread}", self.outputs[thread], count, unsure)
        assert len(set(self.deleted)) == len(self.deleted), "a __del__ was heard twice"
        assert set(told["deleted"]) <= set(self.deleted) <= set(told["made"])

    def _assert_all(self, what: str, arrived: list[int], count: int, unsure: list[int]) -> None:
        assert count > 0, f"session {self.session}: there are no {what}"
        excused = set(unsure) - set(arrived)
        expected = [number for number in range(count) if number not in excused]
        for at, (came, should) in enumerate(zip_longest(arrived, expected)):
            assert came == should, (
                f"session {self.session}, {what}: number {should} should come, and there came"
                f" {arrived[at : at + 5]} after {arrived[max(0, at - 5) : at]}"
            )

    def _take_line(self, line: str) -> None:
        found = LINE.fullmatch(line)
        assert found, f"session {self.session} got a line that nobody printed: {line!r}"
        kind, session, thread, number, tail = found.groups()
        if kind == "child":
            return  # of whichever session: it is the process's text, not a session's
        assert int(session) == self.session, f"session {self.session} got {line!r}"
        if kind == "line":
            assert len(tail) == int(number) % 60, f"session {self.session} got a torn {line!r}"
            self.lines[thread].append(int(number))
        elif kind == "del":
            self.deleted.append(int(number))
        else:
            self.interrupts_asked += 1

    def _take_output(self, output: str) -> None:
        found = OUTPUT.fullmatch(output)
        assert found, f"session {self.session} was shown {output!r}"
        session, thread, number = found.groups()
        assert int(session) == self.session, f"session {self.session} was shown {output!r}"
        self.outputs[thread].append(int(number))


async def weather(client: Client, heard: Heard) -> None:
    """Run the storm, and interrupt it as often as it asks for that."""
    interrupts = 0
    client.execute(STORM, cell="storm")
    await client.wait_for(Status, state="busy")
    while not heard.is_over:
        heard.take(await client.next())
        if heard.interrupts_asked > interrupts:
            interrupts += 1
            client.interrupt()


async def test_every_line_and_every_output_of_a_storm_arrives_once_whole_and_in_order(
    open_app: OpenApp,
) -> None:
    clients = {Heard(session): await open_app() for session in range(SESSIONS)}
    threads = [*(f"thread{number}" for number in range(THREADS)), "main"]
    for heard, client in clients.items():
        await client.run(f"session, threads, storm_s = {heard.session}, {threads}, {STORM_S}")
        await client.run(f"shown_at_once = {SHOWN_AT_ONCE}")

    try:
        async with asyncio.timeout(LONG_PATIENCE_S), asyncio.TaskGroup() as storms:
            for heard, client in clients.items():
                storms.create_task(weather(client, heard))
    except TimeoutError:
        hanging = [heard.session for heard in clients if not heard.is_over]
        pytest.fail(f"sessions {hanging} came to no end within {LONG_PATIENCE_S} s")

    # A session's last objects may be collected on another one's thread.
    for heard, client in clients.items():
        for message in await client.run("collected = gc.collect()"):
            heard.take(message)
    lost = interrupts = 0
    for heard, client in clients.items():
        lines = printed(await client.run(REPORT)).splitlines()
        told = json.loads(next(line for line in lines if line.startswith("{")))
        heard.assert_complete(told)
        assert len(told["exit_codes"]) >= THREADS
        assert set(told["exit_codes"]) == {0}
        lost += len(told["made"]) - len(heard.deleted)
        interrupts += told["interrupted"]
    assert interrupts >= SESSIONS
    assert lost <= interrupts, "a __del__ was lost without an interrupt"
