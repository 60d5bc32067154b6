"""Tabs that come and go, and a death now and then: the server's memory, descriptors, threads and
blocks stay what they were.

Three quarters of a minute by default; half an hour, with a death every 20 s:

    MPKERNEL_TEST_SOAK_S=1800 python -m pytest -s -o faulthandler_timeout=0 tests/e2e/test_soak.py
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
import shutil
import signal
import statistics
import time
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest
from e2e.harness import NOTEBOOKS, Server, Tab, http_client
from e2e.test_serving import hosts_of
from e2e.test_virtual_files import private_bytes

from shm.names import owner_of

SECONDS = float(os.environ.get("MPKERNEL_TEST_SOAK_S", "45"))
APPS = 3
VISITORS_PER_APP = 2
SAMPLE_EVERY_S = min(SECONDS / 45, 5.0)
DEATH_EVERY_S = min(SECONDS / 9, 20.0)
MOVES_PER_VISIT = 4
# A crash that names its tab would leave that tab's last value out.
DEATHS = (signal.SIGKILL, signal.SIGTERM)
MIB = 1024 * 1024


class Sample(msgspec.Struct, frozen=True):
    """The resources that the server has at one moment."""

    memory_bytes: int
    descriptors: int
    threads: int
    blocks: int
    hosts: int


ALLOWED_GROWTH = Sample(memory_bytes=16 * MIB, descriptors=24, threads=8, blocks=24, hosts=1)
"""Of the last quarter's median over the second quarter's: what visitors more or fewer make."""


class Soak:
    """A server under visitors.

    Attributes:
        visits: how many tabs were opened, used and left.
        deaths: how many processes were ended.
        samples: what the server had, the oldest first.
    """

    def __init__(self, server: Server, apps: list[Path]) -> None:
        self.visits = 0
        self.deaths = 0
        self.samples: list[Sample] = []
        self._server = server
        self._pids = dict.fromkeys(apps, 0)
        self._end = time.monotonic() + SECONDS

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for app in self._pids:
                for _ in range(VISITORS_PER_APP):
                    group.create_task(self._visit_again_and_again(app))
            group.create_task(self._kill_now_and_then())
            group.create_task(self._sample())

    async def _visit_again_and_again(self, app: Path) -> None:
        values = itertools.cycle(range(2, 1000))
        async with http_client() as client:
            while time.monotonic() < self._end:
                tab = Tab(self._server.url, str(app), client=client, history=500)
                await tab.open()
                await tab.wait_for("number 1 in process", 60)
                for value in itertools.islice(values, MOVES_PER_VISIT):
                    await tab.set_ui("Number", value)
                    await tab.wait_for(f"number {value} in process", 60)
                    self._pids[app] = int(tab.text.split("in process ")[1].split(".")[0])
                    await see_picture(tab)
                await random.choice([tab.close, tab.drop])()
                self.visits += 1

    async def _kill_now_and_then(self) -> None:
        for app in itertools.cycle(self._pids):
            if time.monotonic() > self._end - DEATH_EVERY_S:
                return
            await asyncio.sleep(DEATH_EVERY_S)
            for host in hosts_of(self._server):
                if host.pid == self._pids[app]:
                    host.send_signal(DEATHS[self.deaths % 2])
                    self.deaths += 1

    async def _sample(self) -> None:
        process = psutil.Process(self._server.pid)
        while time.monotonic() < self._end:
            await asyncio.sleep(SAMPLE_EVERY_S)
            hosts = await asyncio.to_thread(hosts_of, self._server)
            self.samples.append(
                Sample(
                    memory_bytes=private_bytes(process),
                    descriptors=process.num_fds(),
                    threads=process.num_threads(),
                    blocks=blocks_of({process.pid, *(host.pid for host in hosts)}),
                    hosts=len(hosts),
                )
            )


async def see_picture(tab: Tab) -> None:
    """Fetch what the tab shows, if its process still lives when that is asked for."""
    (url,) = re.findall(r"\./@file/\d+-[\w.-]+", tab.html)[-1:]
    response = await tab.get(url)
    assert response.status_code in (httpx.codes.OK, httpx.codes.NOT_FOUND)


def blocks_of(pids: set[int]) -> int:
    owners = map(owner_of, os.listdir("/dev/shm"))
    return sum(owner is not None and owner.pid in pids for owner in owners)


def quarter(samples: list[Sample], number: int) -> Sample:
    """The medians of one quarter of the samples."""
    length = len(samples) // 4
    part = samples[number * length : (number + 1) * length]
    return Sample(
        **{
            name: int(statistics.median(getattr(sample, name) for sample in part))
            for name in Sample.__struct_fields__
        }
    )


@pytest.mark.timeout(SECONDS + 600)
async def test_the_server_stays_what_it_was(tmp_path: Path) -> None:
    apps = [tmp_path / f"app{number}.py" for number in range(APPS)]
    for app in apps:
        shutil.copy(NOTEBOOKS / "soak.py", app)
    # Blocks are kept to be used again, and add up until the first of them have this age.
    options = ("--session-ttl", "5", "--recycled-files-age-s", f"{SECONDS / 9:g}")
    async with Server(tmp_path, cwd=tmp_path, options=options, standby=True) as server:
        soak = Soak(server, apps)
        await soak.run()
        print(f"{soak.visits} visits, {soak.deaths} deaths; the medians of each quarter:")
        for number in range(4):
            print(quarter(soak.samples, number))
    early, late = quarter(soak.samples, 1), quarter(soak.samples, 3)
    for name in Sample.__struct_fields__:
        grown = getattr(late, name) - getattr(early, name)
        assert grown <= getattr(ALLOWED_GROWTH, name), f"{name}: {early}, then {late}"
    assert soak.deaths >= SECONDS / DEATH_EVERY_S - 2
