"""What it costs that an app is confined: a host's start, round trips, and virtual files.

Each turn measures hosts that are not confined, with `files` and with `strict`, one after the other,
again and again. Of the starts the fastest is taken: a start is delayed by all that the machine does
besides, and the difference is small. Ratios are taken within the turn.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from typing import Literal, get_args

from mpkernel import Channel, HostPool, KernelSpec, Settings

from .. import workload
from ..contenders import Figures
from ..measure import Measure, Target
from ..peers import OURS, Peer
from ..suite import Run
from .files import rate_of_files

Level = Literal["off", "files", "strict"]

_COMMAND = b"echo " + b"x" * 45
_MIB = 1024 * 1024
_SPEC = KernelSpec(entry=f"{workload.__name__}:on_mpkernel")


def run(run: Run) -> list[Measure]:
    measures = {
        "off": Measure("a host's start, not confined", "ms"),
        "files": Measure("a host's start, files", "ms"),
        "strict": Measure("a host's start, strict", "ms"),
        "more": Measure("what files adds to a host's start", "ms", targets=[Target(5.0)]),
        "trip": Measure("a round trip with files, to one without", "ratio", targets=[Target(1.05)]),
        "file": Measure(
            "time for virtual files of 1 MiB with files, to that without",
            "ratio",
            targets=[Target(1.05)],
        ),
    }
    with run.contenders(OURS) as contenders:
        starts, trips = run.choose(full=15, quick=5), run.choose(full=3000, quick=500)
        run.alternate(contenders, measures, confined, starts, trips, run.choose(full=256, quick=32))
    return list(measures.values())


async def confined(_: Peer, starts: int, trips: int, files: int) -> Figures:
    """Starts in milliseconds, and ratios."""
    took_ms: dict[Level, list[float]] = {level: [] for level in get_args(Level)}
    with tempfile.NamedTemporaryFile(suffix=".py") as app:
        for _ in range(starts):
            for level, taken in took_ms.items():
                taken.append(await _start_ms(app.name, level))
        trip_s: dict[Level, list[float]] = {"off": [], "files": []}
        for level in ("off", "files", "files", "off"):
            trip_s[level].append(await _trip_s(app.name, level, trips))
    rate: dict[Level, list[float]] = {"off": [], "files": []}
    for level in ("off", "files", "files", "off"):
        rate[level].append(await rate_of_files(Settings(confine=level), _MIB, files))
    fastest = {level: min(taken) for level, taken in took_ms.items()}
    return {
        **fastest,
        "more": fastest["files"] - fastest["off"],
        "trip": sum(trip_s["files"]) / sum(trip_s["off"]),
        "file": sum(rate["off"]) / sum(rate["files"]),
    }


async def _start_ms(app: str, level: Level) -> float:
    async with HostPool(Settings(confine=level)) as pool:
        began = time.perf_counter()
        session = await pool.open_session(app, kernel=_SPEC)
        session.send(Channel.CONTROL, b"echo")
        await anext(session)
        return 1e3 * (time.perf_counter() - began)


async def _trip_s(app: str, level: Level, trips: int) -> float:
    """The median of so many round trips."""
    async with HostPool(Settings(confine=level)) as pool:
        session = await pool.open_session(app, kernel=_SPEC)
        taken_s = []
        for _ in range(trips):
            began = time.perf_counter()
            session.send(Channel.CONTROL, _COMMAND)
            await anext(session)
            taken_s.append(time.perf_counter() - began)
        return statistics.median(taken_s)
