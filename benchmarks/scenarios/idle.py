"""What 40 apps of 5 tabs each cost while nobody acts: processor time, and wake-ups of threads.

Once with a single session in each app, and once with five: no figure may grow with the sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

import psutil

from ..contenders import Figures
from ..measure import Measure, Target
from ..peers import Host, Peer
from ..suite import Run

_APPS = 40
_TABS = 5
_SETTLED_AFTER_S = 6.0


def run(run: Run) -> list[Measure]:
    measures = {
        "cpu": Measure("server and hosts, 5 sessions each", "% of a core", targets=[Target(0.5)]),
        "server": Measure("the server alone", "% of a core"),
        "wake-ups": Measure("wake-ups, 5 sessions each", "1/s"),
        "fewer": Measure("wake-ups, 1 session each", "1/s"),
    }
    with run.contenders("mpkernel", "ZeroMQ") as contenders:
        run.alternate(contenders, measures, idle, run.choose(full=20.0, quick=3.0))
    return list(measures.values())


async def idle(peer: Peer, seconds: float) -> Figures:
    """Look at all processes for so long, first with one session in each host."""
    hosts = [await peer.open_host() for _ in range(_APPS)]
    await _open_more(hosts, 1)
    _, _, fewer = await _look(hosts, seconds)
    await _open_more(hosts, _TABS - 1)
    cpu, server, wake_ups = await _look(hosts, seconds)
    return {"cpu": cpu, "server": server, "wake-ups": wake_ups, "fewer": fewer}


async def _open_more(hosts: list[Host], sessions: int) -> None:
    for host in hosts:
        for _ in range(sessions):
            session = await host.open_session()
            session.send(b"echo")
            await session.receive()
    await asyncio.sleep(_SETTLED_AFTER_S)


async def _look(hosts: list[Host], seconds: float) -> tuple[float, float, float]:
    """The share of a processor of all processes and of the server, in percent, and the wake-ups a
    second of all."""
    pids = [os.getpid(), *(host.pid for host in hosts)]
    cpu_s, wake_ups = [_cpu_s(pid) for pid in pids], sum(map(_wake_ups, pids))
    await asyncio.sleep(seconds)
    used_s = [_cpu_s(pid) - before_s for pid, before_s in zip(pids, cpu_s, strict=True)]
    woken = sum(map(_wake_ups, pids)) - wake_ups
    return 100 * sum(used_s) / seconds, 100 * used_s[0] / seconds, woken / seconds


def _cpu_s(pid: int) -> float:
    """CPU time of all threads. Linux counts it in nanoseconds; elsewhere it is what psutil gives,
    which may be in steps of 10 ms."""
    found_s = 0.0
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    for thread in threads:
        with (
            contextlib.suppress(FileNotFoundError),  # it has ended
            open(f"/proc/{pid}/task/{thread}/schedstat") as file,
        ):
            found_s += int(file.read().split()[0]) / 1e9
    return found_s


def _wake_ups(pid: int) -> int:
    """How often its threads have waited for something so far, and gone on."""
    found = 0
    for thread in psutil.Process(pid).threads():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += psutil.Process(thread.id).num_ctx_switches().voluntary
    return found
