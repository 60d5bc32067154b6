"""From a command to its answer: client, kernel thread, client.

Two lower bounds take part: two bare Pipes for one session, and for several ones a loop and threads
with nothing around them."""

from __future__ import annotations

import asyncio
import time

from ..contenders import Figures
from ..measure import Measure, Target, percentile
from ..peers import Peer, PeerSession
from ..suite import Run

_COMMAND = b"echo " + b"x" * 45
_TARGETS = {
    "1 session, p50": [Target(0.22, "ZeroMQ"), Target(1.7, "bare Pipes")],
    "100 sessions, p50": [Target(0.25, "ZeroMQ")],
    "100 sessions, p99": [Target(0.5, "ZeroMQ"), Target(1.0, "mp.Queue")],
}


def run(run: Run) -> list[Measure]:
    measures: dict[str, Measure] = {}
    for sessions in (1, 10, 100):
        name = f"{sessions} session{'s' if sessions > 1 else ''}"
        for figure in ("p50", "p99"):
            key = f"{name}, {figure}"
            measures[key] = Measure(key, "µs", targets=_TARGETS.get(key, []))
        floors = ("bare Pipes", "bare threads") if sessions == 1 else ("bare threads",)
        trips = run.choose(full=4000, quick=600) // sessions**0.7
        with run.contenders("mpkernel", "ZeroMQ", "mp.Queue", *floors) as contenders:
            run.alternate(contenders, measures, round_trips, name, sessions, int(trips))
    return list(measures.values())


async def round_trips(peer: Peer, name: str, sessions: int, trips: int) -> Figures:
    """Round trips of all sessions at the same time, in microseconds."""
    host = await peer.open_host()
    opened = [await host.open_session() for _ in range(sessions)]
    for session in opened:
        await _trips(session, max(10, trips // 10))
    taken = await asyncio.gather(*(_trips(session, trips) for session in opened))
    micros = [1e6 * seconds for one in taken for seconds in one]
    return {f"{name}, p50": percentile(micros, 50), f"{name}, p99": percentile(micros, 99)}


async def _trips(session: PeerSession, count: int) -> list[float]:
    taken_s = []
    for _ in range(count):
        began = time.perf_counter()
        session.send(_COMMAND)
        await session.receive()
        taken_s.append(time.perf_counter() - began)
    return taken_s
