"""A small round trip while another session of the same host sends without end.

What the flood sends is read as it comes. A trip that has not ended when the time is over counts
with what it took until then.
"""

from __future__ import annotations

import asyncio
import time

from ..contenders import Figures
from ..measure import Measure, Target, percentile
from ..peers import Peer, PeerSession
from ..suite import Run

__all__ = ["beside_a_flood", "run", "trips"]

_SIZES = {"200 B": 200, "4 KiB": 4096, "64 KiB": 65536, "1 MiB": 1024 * 1024}
_ONLY_FULL = ("4 KiB", "64 KiB")
_PAUSE_S = 0.001
_SETTLE_S = 0.25
_OVERTIME_S = 0.2


def run(run: Run) -> list[Measure]:
    measures: dict[str, Measure] = {}
    seconds = run.choose(full=1.0, quick=0.4)
    with run.contenders("mpkernel", "ZeroMQ", "mp.Queue") as contenders:
        for name, size in _SIZES.items():
            if run.options.quick and name in _ONLY_FULL:
                continue
            for measure in (
                Measure(f"{name} flood: idle p50", "µs"),
                Measure(f"{name} flood: idle p99", "µs"),
                Measure(f"{name} flood: p50", "µs"),
                Measure(f"{name} flood: p99", "ms", targets=[Target(12.0)]),
                Measure(f"{name} flood: p50 to own idle", "x", targets=[Target(2.0)]),
                Measure(f"{name} flood: its rate", "k/s", better="more"),
            ):
                measures[measure.name] = measure
            run.alternate(contenders, measures, beside_a_flood, f"{name} flood", size, seconds)
    run.notes.append(
        "a p50 near the time a turn lasts: no trip came to its end, the answer stands behind all "
        "that was sent before it"
    )
    return list(measures.values())


async def beside_a_flood(peer: Peer, name: str, size: int, seconds: float) -> Figures:
    """Round trips of one session, without and with another that floods."""
    host = await peer.open_host()
    small, large = await host.open_session(), await host.open_session()
    await trips(small, _SETTLE_S / 2)  # to warm up
    idle = await trips(small, _SETTLE_S)

    taken = _Count()
    reader = asyncio.create_task(_read(large, taken))
    large.send(b"forever %d" % size)
    await taken.begun.wait()
    await asyncio.sleep(_SETTLE_S)
    before, began = taken.count, time.perf_counter()
    busy = await trips(small, seconds)
    rate = (taken.count - before) / (time.perf_counter() - began)
    reader.cancel()
    await host.close()
    return {
        f"{name}: idle p50": 1e6 * percentile(idle, 50),
        f"{name}: idle p99": 1e6 * percentile(idle, 99),
        f"{name}: p50": 1e6 * percentile(busy, 50),
        f"{name}: p99": 1e3 * percentile(busy, 99),
        f"{name}: p50 to own idle": percentile(busy, 50) / percentile(idle, 50),
        f"{name}: its rate": rate / 1e3,
    }


class _Count:
    def __init__(self) -> None:
        self.count = 0
        self.begun = asyncio.Event()


async def _read(session: PeerSession, taken: _Count) -> None:
    await session.receive()
    taken.begun.set()
    while True:
        await session.receive()
        taken.count += 1


async def trips(session: PeerSession, seconds: float) -> list[float]:
    """How long each of the small round trips of so many seconds took, in seconds."""
    taken_s: list[float] = []
    began = time.perf_counter()
    end = began + seconds
    try:
        async with asyncio.timeout(seconds + _OVERTIME_S):
            while time.perf_counter() < end:
                await asyncio.sleep(_PAUSE_S)
                began = time.perf_counter()
                session.send(b"echo")
                await session.receive()
                taken_s.append(time.perf_counter() - began)
    except TimeoutError:
        taken_s.append(time.perf_counter() - began)
    return taken_s
