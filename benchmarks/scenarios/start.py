"""A host's start, until its first session's kernel has answered; and a session's on a live host.

"With marimo" includes the import of marimo's runtime, without which no kernel of marimo runs. A
standby has imported it before. The lower bounds are bare processes that import nothing, what an
app's process of mpkernel imports, and marimo's runtime.
"""

from __future__ import annotations

import statistics
import time

from ..contenders import Figures
from ..measure import Measure, Target
from ..peers import Peer
from ..suite import Run

_MARIMO_KERNEL = b"import marimo._runtime.runtime"
_STANDBY = "mpkernel, standby"


def run(run: Run) -> list[Measure]:
    measures = {
        "bare": Measure("a host's start, bare", "ms", targets=[Target(1.25, "bare Pipes")]),
        "session": Measure("a session's start on a live host", "ms"),
        "marimo": Measure(
            "a host's start, with marimo imported",
            "ms",
            targets=[
                Target(0.4, "marimo's hosts"),
                Target(0.05, "marimo's hosts", who=_STANDBY),
            ],
        ),
    }
    peers = ("mpkernel", "ZeroMQ", "mp.Queue")
    with run.contenders(*peers, _STANDBY, "bare Pipes", "bare Pipes, our imports") as contenders:
        run.alternate(contenders, measures, started)
        taking_part = [one for one in contenders if one.name in peers]
        run.alternate(taking_part, measures, session_started, run.choose(full=50, quick=20))
    with run.contenders("mpkernel", _STANDBY, "marimo's hosts", "bare Pipes") as contenders:
        if "marimo's hosts" in [contender.name for contender in contenders]:
            run.alternate(contenders, measures, started_with_marimo)
    return list(measures.values())


async def started(peer: Peer) -> Figures:
    """Milliseconds until a kernel of a new host answers."""
    return {"bare": 1e3 * await _until_answered(peer, b"echo")}


async def started_with_marimo(peer: Peer) -> Figures:
    """The same, with marimo."""
    return {"marimo": 1e3 * await _until_answered(peer, _MARIMO_KERNEL)}


async def session_started(peer: Peer, count: int) -> Figures:
    """Milliseconds until a further kernel of a live host runs, the median of so many."""
    host = await peer.open_host()
    await host.open_session()
    taken_s = []
    for _ in range(count):
        began = time.perf_counter()
        await host.open_session()
        taken_s.append(time.perf_counter() - began)
    return {"session": 1e3 * statistics.median(taken_s)}


async def _until_answered(peer: Peer, command: bytes) -> float:
    began = time.perf_counter()
    session = await (await peer.open_host()).open_session()
    session.send(command)
    await session.receive()
    return time.perf_counter() - began
