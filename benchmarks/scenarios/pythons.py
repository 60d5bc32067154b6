"""Hosts in other interpreters than the server's: their start, a round trip, and a flood.

The interpreters are those that `--python` names, and the server's own, for comparison.
"""

from __future__ import annotations

from ..contenders import Figures
from ..measure import Measure
from ..peers import ON_PYTHON, OURS, Peer
from ..suite import Run
from .round_trip import round_trips
from .start import started
from .throughput import flood

_FLOOD = "200 B"


def run(run: Run) -> list[Measure]:
    measures = {
        "bare": Measure("a host's start, bare", "ms"),
        "1 session, p50": Measure("round trip, p50", "µs"),
        "1 session, p99": Measure("round trip, p99", "µs"),
        _FLOOD: Measure("messages of 200 B", "k/s", better="more"),
    }
    if not run.options.pythons:
        run.note("no other interpreter was named: give --python PATH")
        return []
    names = [f"{ON_PYTHON}{python}" for python in run.options.pythons]
    trips = run.choose(full=4000, quick=600)
    with run.contenders(OURS, *names) as contenders:
        run.alternate(contenders, measures, in_interpreter, trips, 15 * trips)
    return list(measures.values())


async def in_interpreter(peer: Peer, trips: int, messages: int) -> Figures:
    """All of it."""
    figures = await started(peer)
    figures |= await round_trips(peer, "1 session", 1, trips)
    return figures | await flood(peer, _FLOOD, 200, messages)
