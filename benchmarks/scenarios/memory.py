"""The memory of a host and of a session: the unique set size, which no other process shares.

A marimo host's is among the figures of the scenario `marimo`.
"""

from __future__ import annotations

import psutil

from ..contenders import Figures
from ..measure import Measure, Target
from ..peers import Peer, PeerSession
from ..suite import Run

_MIB = 1024 * 1024


def run(run: Run) -> list[Measure]:
    measures = {
        "host": Measure("a bare host with one session", "MiB", targets=[Target(1.1, "ZeroMQ")]),
        "session": Measure("a further session, in the host", "KiB"),
        "server": Measure("a further session, in the server", "KiB"),
    }
    with run.contenders("mpkernel", "ZeroMQ", "mp.Queue") as contenders:
        run.alternate(contenders, measures, opened, run.choose(full=200, quick=100))
    return list(measures.values())


async def opened(peer: Peer, count: int) -> Figures:
    """Measure one session, then further sessions, each used once."""
    host = await peer.open_host()
    await _use(await host.open_session())
    before = _unique(host.pid), _unique()
    for _ in range(count):
        await _use(await host.open_session())
    after = _unique(host.pid), _unique()
    return {
        "host": before[0] / _MIB,
        "session": (after[0] - before[0]) / count / 1024,
        "server": (after[1] - before[1]) / count / 1024,
    }


async def _use(session: PeerSession) -> None:
    session.send(b"echo")
    await session.receive()


def _unique(pid: int | None = None) -> int:
    unique: int = psutil.Process(pid).memory_full_info().uss
    return unique
