"""What the session store costs: a slider's round trip in a real marimo server with it and without
it; and the gaps of a server's event loop, and the bytes on the disk, while 1,000 sessions change
values ten times a second.

The 1,000 sessions have the journals of marimo's sessions, and no processes: what those would cost
the loop is not the store's.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from pathlib import Path

from ..contenders import Contender, Figures, run_loop
from ..marimo_server import Server, Tab
from ..marimo_server.programs import OURS, OURS_UNSTORED, Notebooks
from ..marimo_server.turns import measure_by_turns, moved
from ..measure import Measure, Target, percentile
from ..peers import Peer
from ..suite import Run

_SESSIONS = 1000
_ELEMENTS = 20
_CHANGES_PER_S = 10
_STEP_S = 0.01
_TICK_S = 0.001
_JOURNAL_BYTES = 1024 * 1024
_MOST_KIB = 64.0
"""A file of a small session is written anew when it would be larger."""


def run(run: Run) -> list[Measure]:
    measures = {
        "p50": Measure("slider's round trip, p50", "ms", targets=[Target(1.05, OURS_UNSTORED)]),
        "p99.9": Measure(
            f"gaps of the loop, {_SESSIONS} sessions change {_CHANGES_PER_S} times a second, p99.9",
            "ms",
            targets=[Target(10.0)],
        ),
        "max": Measure("the longest of these gaps", "ms"),
        "disk": Measure("the disk, a session", "KiB", targets=[Target(_MOST_KIB)]),
    }
    names = (OURS, OURS_UNSTORED)
    run_loop(measure_by_turns(run, names, measures, _slider), "asyncio")
    with run.contenders("mpkernel") as contenders:
        for contender in contenders:
            _many_sessions(run, contender, measures)
    return list(measures.values())


async def _slider(run: Run, server: Server, notebooks: Notebooks, number: int) -> Figures:
    async with Tab(server.url, notebooks[number]) as tab:
        await tab.wait_for("in process")
        moved_s = [await moved(tab, value) for value in range(1, run.choose(full=1000, quick=50))]
    return {"p50": 1e3 * percentile(moved_s, 50)}


def _many_sessions(run: Run, contender: Contender, measures: dict[str, Measure]) -> None:
    seconds = run.choose(full=10.0, quick=1.0)
    for name in run.by_turns((OURS, OURS_UNSTORED), str):
        for figure, value in contender.turn(_changing, seconds, stored=name == OURS).items():
            measures[figure].add(name, value)


class _Session:
    """As `BaseSession`, without a process.

    Args:
        elements: the names of its inputs.
    """

    def __init__(self, elements: list[str]) -> None:
        from mpkernel.marimo_backend.server.marimo_journal import MarimoJournal
        from mpkernel.server.sessions.copies import Copies
        from mpkernel.spec import KernelSpec

        self.lock = threading.RLock()
        kernel = KernelSpec(entry="benchmark:none")
        self._journal = MarimoJournal(kernel, {}, max_bytes=_JOURNAL_BYTES)
        self.copies = Copies(self.kept)
        self._sent = 0
        for name in elements:
            self.change(name, 0)

    def kept(self) -> bytes:
        with self.lock:
            return self._journal.kept()

    def change(self, name: str, value: int) -> None:
        """The page sets an element, and the kernel does that."""
        from mpkernel.marimo_backend import seam
        from mpkernel.wire.frames import Channel

        command = seam.server("UpdateUIElementCommand")(object_ids=[name], values=[value])
        with self.lock:
            self._journal.sent(Channel.CONTROL, command)
            self.copies.changed(by_client=True)
        self._sent += 1
        with self.lock:
            self._journal.progressed(self._sent, self._sent)
            self.copies.changed(by_client=False)


async def _changing(_: Peer, seconds: float, *, stored: bool) -> Figures:
    from mpkernel.server.store.session_store import SessionStore, key_of

    names = [f"Hbol-{number}" for number in range(_ELEMENTS)]
    sessions = [_Session(names) for _ in range(_SESSIONS)]
    with tempfile.TemporaryDirectory(prefix="mpkernel-bench-") as folder:
        directory = Path(folder) / "sessions"
        store = SessionStore(
            directory, delay_s=0.1, ttl_s=3600.0, most_sessions=10_000, most_bytes=1 << 30
        )
        if stored:
            for number, session in enumerate(sessions):
                copy = store.keep(key_of("", str(number)), "", session.kept)
                assert copy is not None
                session.copies.keep(copy)
        late_s: list[float] = []
        ticker = asyncio.create_task(_tick(late_s))
        await _change_all(sessions, names, seconds)
        ticker.cancel()
        await store.close()
        files = [path for path in directory.glob("*-*/*") if path.name != "owner"]
        size = sum(path.stat().st_size for path in files)
    figures = {"p99.9": 1e3 * percentile(late_s, 99.9), "max": 1e3 * max(late_s)}
    return figures | ({"disk": size / 1024 / _SESSIONS} if stored else {})


async def _change_all(sessions: list[_Session], names: list[str], seconds: float) -> None:
    """Some of them change in each step, so that the loop's own work is spread evenly."""
    steps = round(1 / _CHANGES_PER_S / _STEP_S)
    began = time.perf_counter()
    for step in range(round(seconds / _STEP_S)):
        for session in sessions[step % steps :: steps]:
            session.change(names[step // steps % len(names)], step)
        await asyncio.sleep(began + (step + 1) * _STEP_S - time.perf_counter())


async def _tick(late_s: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_TICK_S)
        late_s.append(time.perf_counter() - began - _TICK_S)
