"""Workers of a cluster that are killed and stopped again and again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable

import psutil
from dask_backend.machines import Machines, outposts_of
from descendants import has_ended
from waiting import PATIENCE_S

__all__ = ["ChaoticCluster"]


class ChaoticCluster:
    """Workers, and the faults that befall them.

    Args:
        cluster: which workers. That many there are again after each fault.
        seed: of its choices.

    Attributes:
        faults: what befell them, the latest last.
    """

    def __init__(self, cluster: Machines, seed: int) -> None:
        self.faults: list[str] = []
        self._stopped: list[psutil.Process] = []
        self._cluster = cluster
        self._random = random.Random(seed)
        self._faults: list[Callable[[], Awaitable[None]]] = [
            self.worker_killed,
            self.machine_lost,
            self.outpost_killed,
            self.worker_stopped_for_a_moment,
            self.outpost_stopped_for_a_moment,
            self.outpost_stopped,
        ]

    async def suffer(self, end: float) -> None:
        """Cause one fault after the other until that time."""
        while time.monotonic() < end:
            fault = self._random.choice(self._faults)
            self.faults.append(fault.__name__)
            await fault()
            await asyncio.sleep(self._random.uniform(1, 6))

    async def worker_killed(self) -> None:
        """Kill a worker, whose nanny starts another one."""
        nanny, worker = await self._worker()
        _send(worker, signal.SIGKILL)
        await self._worker(nanny)

    async def machine_lost(self) -> None:
        """Kill a nanny and its worker, and start others."""
        nanny, worker = await self._worker()
        for process in (nanny, worker):
            _send(process, signal.SIGKILL)
        self._cluster.nannies.remove(nanny)
        self._cluster.nannies.append(await asyncio.to_thread(self._cluster.add_worker))

    async def outpost_killed(self) -> None:
        if outpost := await self._outpost():
            _send(outpost, signal.SIGKILL)

    async def worker_stopped_for_a_moment(self) -> None:
        await self._stop_for_a_moment((await self._worker())[1])

    async def outpost_stopped_for_a_moment(self) -> None:
        if outpost := await self._outpost():
            await self._stop_for_a_moment(outpost)

    async def outpost_stopped(self) -> None:
        """Stop an outpost for ever: its worker ends it, see `check`."""
        if outpost := await self._outpost():
            _send(outpost, signal.SIGSTOP)
            self._stopped.append(outpost)

    async def check(self) -> None:
        """Each worker is there, and no outpost that was stopped."""
        for nanny in self._cluster.nannies:
            await self._worker(nanny)
        async with asyncio.timeout(PATIENCE_S):
            while not all(map(has_ended, self._stopped)):
                await asyncio.sleep(0.1)

    async def _stop_for_a_moment(self, process: psutil.Process) -> None:
        _send(process, signal.SIGSTOP)
        await asyncio.sleep(self._random.uniform(0.1, 1.0))
        _send(process, signal.SIGCONT)

    async def _worker(
        self, nanny: psutil.Process | None = None
    ) -> tuple[psutil.Process, psutil.Process]:
        """A nanny (default: one by chance) and its worker, waited for."""
        nanny = nanny or self._random.choice(self._cluster.nannies)
        async with asyncio.timeout(PATIENCE_S):
            while not (workers := [one for one in nanny.children() if not has_ended(one)]):
                await asyncio.sleep(0.1)
        return nanny, workers[0]

    async def _outpost(self) -> psutil.Process | None:
        """One by chance, if there is one."""
        outposts = [one for nanny in self._cluster.nannies for one in outposts_of(nanny)]
        return self._random.choice(outposts) if outposts else None


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # another fault has ended it meanwhile
        process.send_signal(number)
