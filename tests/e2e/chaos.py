"""Apps with tabs that must never be lost, whatever faults befall the apps."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import random
import re
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import psutil
from dask_backend.machines import Machines
from e2e.harness import Server, Tab
from waiting import PATIENCE_S

from mpkernel.server.operations.finding import published_servers
from mpkernel.server.operations.orders import Answer, Drain, Order, Restart, give_order

__all__ = ["ChaoticApp", "Victim"]

TABS_PER_APP = 4
# An app that dies more often is given up for a while, which is tested elsewhere.
DEATHS_PER_MINUTE = 4
# The third time a tab is closed, which is tested elsewhere.
POISONS_PER_TAB = 2
STALLED_PER_APP = 2
# On a cluster: the process that starts an app there may itself be stopped while it starts, which is
# noticed after 30 s; and so may the next one.
_PATIENCE_OF_CLUSTERS_S = 180.0


class Victim:
    """A tab that must never be lost, and what it must show.

    Args:
        tab: which one.
        patience_s: how long it may wait for its process.
    """

    def __init__(self, tab: Tab, patience_s: float) -> None:
        self.tab = tab
        self._patience_s = patience_s
        self.value = 1
        self.uploaded_bytes = 0
        self.poisons = 0

    async def move(self, value: int) -> None:
        """Move its slider and wait until the page says so, with the file that belongs to it."""
        self.value = value
        await self.tab.set_ui("Number", value)
        expected = f"{value} ".encode() * 10_000
        async with asyncio.timeout(self._patience_s):
            while await self._download() != expected:  # its process has just ended
                await asyncio.sleep(0.1)

    async def _download(self) -> bytes | None:
        """The file that the page offers; None if it is not to be had, or breaks off."""
        await self.shown()
        try:
            file = await self.tab.get(self.tab.element("marimo-download").arguments["data"])
        except httpx.RemoteProtocolError:
            return None
        return file.content if file.status_code == 200 else None

    async def upload(self, size: int) -> None:
        """Upload a file and wait until the page says so."""
        self.uploaded_bytes = size
        contents = base64.b64encode(os.urandom(size)).decode()
        await self.tab.set_ui("Upload", [["file.bin", contents]])
        await self.shown()

    async def shown(self) -> None:
        """Wait until the tab shows what was set."""
        await self.tab.wait_for(f"number {self.value} in process", self._patience_s)
        await self.tab.wait_for(f"upload of {self.uploaded_bytes} bytes", self._patience_s)

    @property
    def is_idle(self) -> bool:
        """Whether the tab's last run was completed."""
        told = (message["op"] for message in reversed(self.tab.messages))
        return next((op for op in told if op in ("completed-run", "cell-op")), "") != "cell-op"

    @property
    def pid(self) -> int:
        found = re.search(r"in process (\d+)", self.tab.text)
        assert found is not None, self.tab.text
        return int(found[1])


class ChaoticApp:
    """An app, its tabs, and the faults that befall it.

    Args:
        path: the app's file.
        server: which server.
        seed: of its choices.
        cluster: on whose workers it runs. Default: on none, but below the server.

    Attributes:
        victims: the tabs that must live.
        stalled: tabs that do not read, and whose cells print without end. Whatever the server does
            with these is right, as long as it harms no victim.
        faults: what befell it, the latest last.
    """

    def __init__(
        self, path: Path, server: Server, seed: int, cluster: Machines | None = None
    ) -> None:
        self.path = path
        self.victims: list[Victim] = []
        self.stalled: deque[Tab] = deque()
        self.faults: list[str] = []
        self._server = server
        self._cluster = cluster
        self._patience_s = PATIENCE_S if cluster is None else _PATIENCE_OF_CLUSTERS_S
        self._random = random.Random(seed)
        self._values = itertools.cycle(range(2, 900))
        self._deaths: deque[float] = deque()
        self._faults: list[Callable[[], Awaitable[None]]] = [
            self.killed,
            self.killed_at_work,
            self.crashed,
            self.terminated,
            self.killed_twice,
            self.stopped_for_a_moment,
            self.poisoned,
            self.restarted,
            self.restarted_rolling,
            self.drained,
            self.dropped,
            self.closed,
            self.closed_while_opening,
            self.named_twice,
            self.stalling,
            self.children_left,
            self.uploaded,
            self.moved,
        ]

    async def suffer(self, end: float) -> None:
        """Cause one fault after the other until that time."""
        while time.monotonic() < end:
            fault = self._random.choice(self._faults)
            self.faults.append(fault.__name__)
            try:
                await fault()
            except BaseException as error:
                error.add_note(f"{self.path.name}: {self.faults[-20:]}")
                raise
            await asyncio.sleep(self._random.uniform(0, 1))

    async def settled(self) -> None:
        """Wait until every victim shows what it must and does nothing: whoever runs when a signal
        comes from outside is taken for its culprit."""
        for victim in self.victims:
            await victim.shown()
            await victim.tab.wait_for(
                lambda _, one=victim: one.is_idle and self._is_of_server(one.pid), self._patience_s
            )

    async def killed(self) -> None:
        await self.settled()
        await self._end_with(signal.SIGKILL)

    async def killed_at_work(self) -> None:
        """Kill the process while a tab moves its slider."""
        await self.settled()
        victim = self._random.choice(self.victims)
        if not self._may_die():
            return
        victim.value = next(self._values)
        await victim.tab.set_ui("Number", victim.value)
        self._send(victim.pid, signal.SIGKILL)
        await victim.shown()

    async def crashed(self) -> None:
        await self.settled()
        await self._end_with(self._random.choice([signal.SIGSEGV, signal.SIGABRT]))

    async def terminated(self) -> None:
        await self.settled()
        await self._end_with(signal.SIGTERM)

    async def killed_twice(self) -> None:
        """Kill a process, and the next one a moment after that has the tabs back."""
        await self.killed()
        await asyncio.sleep(self._random.uniform(0, 0.5))
        await self.killed()

    async def stopped_for_a_moment(self) -> None:
        pid = self._random.choice(self.victims).pid
        if self._send(pid, signal.SIGSTOP):
            await asyncio.sleep(self._random.uniform(0.1, 1.0))
            self._send(pid, signal.SIGCONT)

    async def poisoned(self) -> None:
        """Have the value of one tab end the process."""
        await self.settled()
        victim = self._random.choice(self.victims)
        # An exit names nobody where another one runs, too: then it is suspected, and tried again,
        # which ends one that was poisoned before.
        poison = self._random.choice([991, 993, *([] if victim.poisons else [992])])
        if victim.poisons < POISONS_PER_TAB and self._may_die(2 if poison == 992 else 1):
            victim.poisons += 1
            pid = victim.pid
            await victim.tab.set_ui("Number", poison)
            while self._is_of_server(pid):
                await asyncio.sleep(0.01)
            await self.settled()

    async def restarted(self) -> None:
        await self._order(Restart(str(self.path)))

    async def restarted_rolling(self) -> None:
        await self._order(Restart(str(self.path), rolling=True))

    async def drained(self) -> None:
        await self._order(Drain(str(self.path)))

    async def dropped(self) -> None:
        """Break off the connection of one tab, and open another tab."""
        position = self._random.randrange(len(self.victims))
        await self.victims[position].tab.drop()
        await self._replace(position)

    async def closed(self) -> None:
        """Close one tab, and open another."""
        await self._replace(self._random.randrange(len(self.victims)))

    async def closed_while_opening(self) -> None:
        """Open a tab, and close it at some moment of the notebook's start."""
        async with Tab(self._server.url, str(self.path)) as tab:
            with contextlib.suppress(AssertionError):
                await tab.wait_for("upload of", self._random.uniform(0, 0.3))

    async def named_twice(self) -> None:
        """Connect a second page as the same session; then connect the first one again."""
        victim = self._random.choice(self.victims)
        await victim.shown()
        async with Tab(self._server.url, str(self.path), history=500) as twin:
            await twin.close()
            twin.session_id = victim.tab.session_id
            await twin.open()
        await victim.tab.close()
        await victim.tab.open()
        await victim.move(next(self._values))

    async def stalling(self) -> None:
        """Open a tab that prints and does not read, or close one that did so."""
        if len(self.stalled) == STALLED_PER_APP:
            await self._leave(self.stalled.popleft())
            return
        tab = await Tab(self._server.url, str(self.path), history=50).open()
        await tab.wait_for("upload of", self._patience_s)
        tab.pause()
        self.stalled.append(tab)
        await tab.set_ui("Noise", 500)

    async def children_left(self) -> None:
        """Have a tab's cell start processes with process sessions of their own."""
        victim = self._random.choice(self.victims)
        value = next(self._values)
        await victim.tab.set_ui("Children", value)
        await victim.tab.wait_for(f"children of {value} started", self._patience_s)

    async def uploaded(self) -> None:
        await self._random.choice(self.victims).upload(self._random.randrange(1, 300_000))

    async def moved(self) -> None:
        await self._random.choice(self.victims).move(next(self._values))

    async def open(self) -> None:
        """Open the app's tabs."""
        self.victims = [await self._opened() for _ in range(TABS_PER_APP)]

    async def check(self) -> None:
        """Every victim is there, shows what it must, and works."""
        while self.stalled:
            await self._leave(self.stalled.popleft())
        for victim in self.victims:
            await victim.shown()
            await victim.move(next(self._values))
            assert victim.tab.close_code is None
            assert self._is_of_server(victim.pid)

    async def close(self) -> None:
        """Close the app's tabs."""
        for victim in self.victims:
            await victim.tab.__aexit__(None, None, None)

    async def _opened(self) -> Victim:
        tab = await Tab(self._server.url, str(self.path), history=500).open()
        victim = Victim(tab, self._patience_s)
        await victim.shown()
        return victim

    async def _replace(self, position: int) -> None:
        await self.victims[position].tab.__aexit__(None, None, None)
        self.victims[position] = await self._opened()

    async def _leave(self, stalled: Tab) -> None:
        stalled.resume()
        await stalled.drop()
        await stalled.__aexit__(None, None, None)

    async def _end_with(self, number: signal.Signals) -> None:
        pid = self._random.choice(self.victims).pid
        if self._may_die():
            self._send(pid, number)

    async def _order(self, order: Order) -> None:
        answer = await asyncio.to_thread(_give, order, self._server.pid)
        assert answer.done, answer.text

    def _send(self, pid: int, number: signal.Signals) -> bool:
        if not self._is_of_server(pid):
            return False  # a victim has not heard yet that it is gone
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def _is_of_server(self, pid: int) -> bool:
        """Whether this process descends from the server, or from a worker."""
        above = [self._server.pid]
        if self._cluster is not None:
            above = [nanny.pid for nanny in self._cluster.nannies]
        try:
            return any(one.pid in above for one in psutil.Process(pid).parents())
        except psutil.NoSuchProcess:
            return False

    def _may_die(self, times: int = 1) -> bool:
        """Whether so many more deaths within the minute are allowed; if so, counts them."""
        now = time.monotonic()
        while self._deaths and self._deaths[0] < now - 62:
            self._deaths.popleft()
        if len(self._deaths) + times > DEATHS_PER_MINUTE:
            return False
        self._deaths.extend([now] * times)
        return True


def _give(order: Order, pid: int) -> Answer:
    (snapshot,) = [server.path for server in published_servers() if server.snapshot.pid == pid]
    return give_order(order, snapshot)
