"""How the dashboard looks at servers, among them some that do not answer."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from server.operators import user_directories
from server.snapshots import pool_of
from waiting import PATIENCE_S

from mpkernel.dashboard import looking
from mpkernel.dashboard.looking import Look, Looker
from mpkernel.private_files import private_runtime_directory, write_private
from mpkernel.server.operations.control import ControlSocket
from mpkernel.server.operations.history import STEP_S, Curve, History, HistoryPart
from mpkernel.server.operations.snapshot import ServerSnapshot
from shm.names import next_name


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with user_directories(monkeypatch) as folder:
        yield folder


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def published(*, created_at: float = 0.0) -> Path:
    """The file of a snapshot that looks like one of a server that takes orders."""
    path = private_runtime_directory() / f"{next_name()}.json"
    snapshot = ServerSnapshot(
        pid=os.getpid(),
        created_at=created_at,
        program="server",
        version="1",
        python="3",
        started_at=0.0,
        taken_at=0.0,
        has_control=True,
        pool=pool_of(),
    )
    write_private(path, msgspec.json.encode(snapshot))
    write_private(path.with_suffix(".key"), bytes(32))
    return path


def silent(servers: ExitStack) -> socket.socket:
    """The socket of a server that says nothing to whoever connects."""
    listener = servers.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(published().with_suffix(".sock")))
    listener.listen(100)
    listener.settimeout(PATIENCE_S)
    return listener


def telling(servers: ExitStack) -> Path:
    """The snapshot of a server that tells its history. It is younger than the others."""
    path, history = published(created_at=1.0), History()
    history.add(pool_of(), 10 * STEP_S)
    servers.callback(ControlSocket(path, lambda _: history.since(0)).close)
    return path


def known_of(path: Path, seen: Look) -> bool:
    """Whether there are curves of this server."""
    [history] = [one.history for one in seen.servers if one.published.path == path]
    return history.curve("") is not None


def test_servers_are_asked_at_the_same_time(
    servers: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_PATIENCE_S", 2 * PATIENCE_S)
    listeners = [silent(servers) for _ in range(8)]
    path = telling(servers)

    def hear_all() -> None:
        with ExitStack() as heard:
            for listener in listeners:
                heard.enter_context(listener.accept()[0])

    with looking.ThreadPoolExecutor(1) as thread:
        all_heard = thread.submit(hear_all)
        seen = Looker().look()
        all_heard.result()
    assert len(seen.servers) == 9
    assert known_of(path, seen)


def test_a_silent_server_is_not_asked_again_at_once(
    servers: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_PATIENCE_S", 0.1)
    listener = silent(servers)
    times = iter([100.0, 105.0, 111.0])
    looker = Looker(clock=lambda: next(times))
    for is_asked in (True, False, True):
        looker.look()
        assert waits(listener) is is_asked


def test_more_silent_servers_than_can_be_asked_are_asked_bit_by_bit(
    servers: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(looking, "_ASKED_AT_ONCE", 1)
    listeners = [silent(servers) for _ in range(4)]
    path = telling(servers)
    now = 100.0
    looker = Looker(clock=lambda: now)
    asked = []
    while not known_of(path, looker.look()):
        asked.append(sum(map(waits, listeners)))
        now += 1.0
    assert asked
    assert max(asked) <= 2  # the second one may begin before the others are given up


@pytest.mark.parametrize(
    ("last", "first", "values"), [(10**15, 0, 1), (10, -(10**15), 1), (10, 10, 10**6), (10, 11, 1)]
)
def test_an_impossible_history_is_not_taken_over_and_hides_no_other(
    servers: ExitStack, last: int, first: int, values: int
) -> None:
    path, evil = telling(servers), published()
    curves = [Curve(app="", first=first, lines={"sessions": bytes(4 * values)})]
    part = HistoryPart(last=last, curves=curves, orders=[])
    servers.callback(ControlSocket(evil, lambda _: part).close)
    seen = Looker().look()
    assert known_of(path, seen)
    assert not known_of(evil, seen)


def waits(listener: socket.socket) -> bool:
    """Whether somebody has connected since the last call."""
    listener.settimeout(0)
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True
