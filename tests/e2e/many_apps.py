"""A server of 50 apps and 500 sessions as an operator sees it, without their processes: snapshot,
history and control socket are real, and what they tell changes with each look."""

from __future__ import annotations

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
from mpkernel.server.supervision.tallies import Tallies, Traffic
from shm.names import next_name

APPS = 50
SESSIONS = 10
_INTERVAL_S = 1.0
_STEPS_TOLD = 40


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
    for look in range(_STEPS_TOLD):
        past = (_STEPS_TOLD - look) * KEPT_STEPS / _STEPS_TOLD * STEP_S
        history.add(_pool(look), now - past)

    def answer(request: Request) -> Answer | HistoryPart:
        if isinstance(request, ReadHistory):
            return history.since(request.since)
        return Answer(False, "there are no processes")

    control = ControlSocket(path, answer)
    snapshot = SnapshotFile(path, has_control=True)
    ended = threading.Event()

    def run() -> None:
        look = _STEPS_TOLD
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
    host = msgspec.structs.replace(
        host_snapshot(number),
        rss_bytes=50_000_000 + (number * 7919 + look * 104_729) % 40_000_000,
        cpu=(number + look) % 10 / 10,
        messages=100 * look,
        sent=10 * look,
        messages_per_s=float(look % 7),
        sessions=[_session(number, one, look) for one in range(SESSIONS)],
    )
    app = app_snapshot(f"/srv/app_{number:02}.py", tallies, host)
    return msgspec.structs.replace(app, name=f"app_{number:02}.py")


def _session(app: int, number: int, look: int) -> SessionSnapshot:
    is_running = (app + number + look) % 5 == 0
    return SessionSnapshot(
        session_id=f"s_{app:02}{number:02}",
        is_running=is_running,
        running="cell fit" if is_running else "",
        done=look,
        window_used_bytes=0,
        waiting_bytes=0,
        acted_at=time.monotonic(),
        strikes=0,
        running_since=time.monotonic() if is_running else None,
    )
