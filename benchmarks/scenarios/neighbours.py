"""A small round trip of one client beside a hundred of the same host that do not read.

Each of the hundred has its kernel send two megabytes. What their clients do not take stays in the
server, in the host, or is not sent yet: the memory of both tells which. The trips are taken once
nothing moves any more, and are set beside those that the same client had before.
"""

from __future__ import annotations

import asyncio
import os

import psutil

from ..contenders import Figures
from ..measure import Measure, Target, percentile
from ..peers import Peer
from ..suite import Run
from .fairness import trips

_MIB = 1024 * 1024
_FLOOD = b"flood 10000 200"
_WARM_UP_S = 0.1
_LOOK_S = 0.5
_QUIET_SHARE = 0.05
_LONGEST_FLOOD_S = 60.0


def run(run: Run) -> list[Measure]:
    measures = {
        name: Measure(name, unit, targets=targets)
        for name, unit, targets in (
            ("idle p99", "µs", []),
            ("beside them p99", "µs", []),
            ("p99 to own idle", "x", [Target(2.0)]),
            ("the server's memory, more", "MiB", []),
            ("the host's memory, more", "MiB", []),
        )
    }
    seconds = run.choose(full=2.0, quick=0.5)
    with run.contenders("mpkernel", "ZeroMQ", "mp.Queue") as contenders:
        count = run.choose(full=100, quick=20)
        run.alternate(contenders, measures, beside_clients_that_do_not_read, count, seconds)
    return list(measures.values())


async def beside_clients_that_do_not_read(peer: Peer, count: int, seconds: float) -> Figures:
    """Round trips of one session, before so many others send what nobody takes, and after."""
    host = await peer.open_host()
    healthy = await host.open_session()
    unread = [await host.open_session() for _ in range(count)]
    await trips(healthy, _WARM_UP_S)
    idle = await trips(healthy, seconds)
    processes = psutil.Process(os.getpid()), psutil.Process(host.pid)
    before = [process.memory_info().rss for process in processes]
    for session in unread:
        session.send(_FLOOD)
    await _until_quiet(processes)
    beside = await trips(healthy, seconds)
    server, apart = (
        (process.memory_info().rss - rss) / _MIB
        for process, rss in zip(processes, before, strict=True)
    )
    await host.close()
    return {
        "idle p99": 1e6 * percentile(idle, 99),
        "beside them p99": 1e6 * percentile(beside, 99),
        "p99 to own idle": percentile(beside, 99) / percentile(idle, 99),
        "the server's memory, more": server,
        "the host's memory, more": apart,
    }


async def _until_quiet(processes: tuple[psutil.Process, ...]) -> None:
    """Wait until none of these computes."""
    async with asyncio.timeout(_LONGEST_FLOOD_S):
        used_s = _cpu_s(processes)
        while True:
            await asyncio.sleep(_LOOK_S)
            before_s, used_s = used_s, _cpu_s(processes)
            if used_s - before_s < _QUIET_SHARE * _LOOK_S:
                return


def _cpu_s(processes: tuple[psutil.Process, ...]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)
