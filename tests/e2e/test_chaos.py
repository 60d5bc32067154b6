"""Random faults of all kinds against several apps with many tabs: no tab is lost but poisoned ones,
and nothing is left behind.

Half a minute by default; for longer:

    MPKERNEL_TEST_CHAOS_S=600 python -m pytest -o faulthandler_timeout=0 tests/e2e/test_chaos.py

`MPKERNEL_TEST_CHAOS_SEED` repeats a run's choices.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
import shutil
import signal
import time
from collections import deque
from pathlib import Path

import psutil
import pytest
from e2e.harness import Server, Tab

NOTEBOOK = Path(__file__).with_name("notebooks") / "chaos.py"
APPS = 5
TABS_PER_APP = 4
SECONDS = float(os.environ.get("MPKERNEL_TEST_CHAOS_S", "30"))
SEED = int(os.environ.get("MPKERNEL_TEST_CHAOS_SEED", "0")) or random.SystemRandom().randrange(
    1, 2**32
)
# An app that dies more often is given up for a while, which is tested elsewhere.
DEATHS_PER_MINUTE = 4
POISONS_PER_TAB = 2


class Victim:
    """A tab and what it must show."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.value = 1
        self.poisons = 0

    async def move(self, value: int) -> None:
        """Move its slider and wait until the page says so."""
        self.value = value
        await self.tab.set_ui("Number", value)
        await self.shown()

    async def shown(self) -> None:
        """Wait until it shows its value."""
        await self.tab.wait_for(f"number {self.value} in process", 60)

    @property
    def pid(self) -> int:
        found = re.search(r"in process (\d+)", self.tab.text)
        assert found is not None, self.tab.text
        return int(found[1])


class App:
    """An app, its tabs and its deaths of the last minute."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.victims: list[Victim] = []
        self.deaths: deque[float] = deque()

    def may_die(self) -> bool:
        """Whether one more death within the minute is no restart storm; if so, counts it."""
        now = time.monotonic()
        while self.deaths and self.deaths[0] < now - 62:
            self.deaths.popleft()
        if len(self.deaths) >= DEATHS_PER_MINUTE:
            return False
        self.deaths.append(now)
        return True


async def kill_with(app: App, number: int) -> None:
    pid = app.victims[0].pid
    if app.may_die() and psutil.pid_exists(pid):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


async def kill_twice(app: App, random_: random.Random) -> None:
    """Kill a process, and its successor while that is at its start."""
    await kill_with(app, signal.SIGKILL)
    await asyncio.sleep(random_.uniform(0, 0.5))
    for victim in app.victims:
        await victim.shown()
    await kill_with(app, signal.SIGKILL)


async def stop_for_a_moment(app: App, random_: random.Random) -> None:
    pid = app.victims[0].pid
    try:
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(random_.uniform(0.1, 1.0))
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return


async def poison(app: App, random_: random.Random) -> None:
    """Have one tab's own value end the process."""
    victim = random_.choice(app.victims)
    if victim.poisons < POISONS_PER_TAB and app.may_die():
        victim.poisons += 1
        await victim.tab.set_ui("Number", random_.choice([991, 992, 993]))


async def reopen(app: App, url: str, random_: random.Random) -> None:
    """One tab goes without a word, another comes."""
    position = random_.randrange(len(app.victims))
    await app.victims[position].tab.drop()
    await app.victims[position].tab.__aexit__(None, None, None)
    app.victims[position] = await opened(url, app.path)


async def opened(url: str, path: Path) -> Victim:
    victim = Victim(await Tab(url, str(path), history=500).open())
    await victim.shown()
    return victim


@pytest.mark.timeout(SECONDS + 240)
async def test_no_tab_is_lost_and_nothing_is_left(tmp_path: Path) -> None:
    random_ = random.Random(SEED)
    print(f"MPKERNEL_TEST_CHAOS_SEED={SEED}")
    apps = [App(tmp_path / f"app{number}.py") for number in range(APPS)]
    for app in apps:
        shutil.copy(NOTEBOOK, app.path)
    async with Server(tmp_path, cwd=tmp_path, options=("--session-ttl", "5")) as server:
        descriptors = psutil.Process(server.pid).num_fds()
        for app in apps:
            app.victims = [await opened(server.url, app.path) for _ in range(TABS_PER_APP)]
        end = time.monotonic() + SECONDS
        values = itertools.count(2)
        while time.monotonic() < end:
            app = random_.choice(apps)
            match random_.randrange(8):
                case 0:
                    await kill_with(app, signal.SIGKILL)
                case 1:
                    await kill_with(app, random_.choice([signal.SIGSEGV, signal.SIGABRT]))
                case 2:
                    await kill_with(app, signal.SIGTERM)
                case 3:
                    await kill_twice(app, random_)
                case 4:
                    await stop_for_a_moment(app, random_)
                case 5:
                    await poison(app, random_)
                case 6:
                    await reopen(app, server.url, random_)
                case _:
                    await random_.choice(app.victims).move(next(values) % 900)
            await asyncio.sleep(random_.uniform(0, 0.5))
        everybody = [victim for app in apps for victim in app.victims]
        for victim in everybody:
            await victim.shown()
            await victim.move(next(values) % 900)
            assert victim.tab.close_code is None
        for victim in everybody:
            await victim.tab.__aexit__(None, None, None)
        await settled(server, descriptors)


async def settled(server: Server, descriptors: int) -> None:
    """Wait until the server has no more processes or descriptors than before its first tab."""
    process = psutil.Process(server.pid)
    async with asyncio.timeout(60):
        while len(apps_of(server)) > 1 or process.num_fds() > descriptors + 16:
            await asyncio.sleep(0.1)


def apps_of(server: Server) -> list[psutil.Process]:
    """The app hosts; one may be a standby."""
    return [
        process for process in server.descendants() if "spawn_main" in " ".join(process.cmdline())
    ]
