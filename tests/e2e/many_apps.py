"""A server of 50 apps and 500 sessions as an operator sees it, without their processes: snapshot,
history and control socket are real, and what they tell changes with each look."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from server.snapshots import app_snapshot, host_snapshot, pool_of

from mpkernel.private_files import make_private
from mpkernel.server.operations.control import ControlSocket
from mpkernel.server.operations.history import KEPT_STEPS, STEP_S, History, HistoryPart
from mpkernel.server.operations.orders import Answer, ReadHistory, Request
from mpkernel.server.operations.snapshot import AppSnapshot, PoolSnapshot, SessionSnapshot
from mpkernel.server.operations.snapshot_file import SnapshotFile
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.tallies import Tallies, Traffic
from shm.names import next_name

APPS = 50
SESSIONS = 10
_INTERVAL_S = 1.0
_FAILING = (7, 23)
"""The numbers of apps that die now and then."""


@contextmanager
def many_apps(directory: Path) -> Iterator[None]:
    """Such a server, with an hour behind it.

    Args:
        directory: where operators look for servers.
    """
    make_private(directory)
    path = directory / f"{next_name()}.json"
    history = History()
    now = time.monotonic()
    for look in range(KEPT_STEPS):
        history.add(_pool(look), now - (KEPT_STEPS - look) * STEP_S)

    def answer(request: Request) -> Answer | HistoryPart:
        if isinstance(request, ReadHistory):
            return history.since(request.since)
        return Answer(False, "there are no processes")

    control = ControlSocket(path, answer)
    snapshot = SnapshotFile(path, has_control=True)
    ended = threading.Event()

    def run() -> None:
        look = KEPT_STEPS
        while not ended.is_set():
            look += 1
            pool = _pool(look)
            snapshot.write(pool)
            history.add(pool, time.monotonic())
            ended.wait(_INTERVAL_S)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        snapshot.remove()
        control.close()


def _pool(look: int) -> PoolSnapshot:
    return pool_of(*(_app(number, look) for number in range(APPS)))


def _app(number: int, look: int) -> AppSnapshot:
    tallies = Tallies()
    tallies.traffic = Traffic(messages=100 * look, sent=10 * look)
    tallies.ping.observe(0.001)
    deaths = look // 150 if number in _FAILING else 0
    tallies.deaths[Reason.OUT_OF_MEMORY] = deaths
    wave = 1 + math.sin(number + look / 27)
    host = msgspec.structs.replace(
        host_snapshot(number),
        rss_bytes=int(60e6 + 25e6 * wave),
        cpu=0.2 * wave,
        messages=100 * look,
        sent=10 * look,
        messages_per_s=float(look % 7),
        sessions=_sessions(number, look % 5),
    )
    app = app_snapshot(f"/srv/app_{number:02}.py", tallies, host)
    reason = Reason.OUT_OF_MEMORY.value if deaths else None
    return msgspec.structs.replace(
        app, deaths=deaths, last_reason=reason, name=f"app_{number:02}.py"
    )


@functools.cache
def _sessions(app: int, turn: int) -> list[SessionSnapshot]:
    return [_session(app, number, turn) for number in range(SESSIONS)]


def _session(app: int, number: int, turn: int) -> SessionSnapshot:
    is_running = (app + number + turn) % 5 == 0
    return SessionSnapshot(
        session_id=f"s_{app:02}{number:02}",
        is_running=is_running,
        running="cell fit" if is_running else "",
        done=0,
        window_used_bytes=0,
        waiting_bytes=0,
        acted_at=time.monotonic(),
        strikes=0,
        running_since=time.monotonic() if is_running else None,
    )
