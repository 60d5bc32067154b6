"""What the dashboard makes of snapshots and histories, without a browser."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec
import pytest
from server.snapshots import app_snapshot, host_snapshot, pool_of

from mpkernel.dashboard.charts import chart, sparkline, steps_to_show
from mpkernel.dashboard.known_history import KnownHistory
from mpkernel.dashboard.looking import Look, SeenServer
from mpkernel.dashboard.ordering import orders_of, who_asks
from mpkernel.dashboard.pages import page
from mpkernel.dashboard.views import View, view_of
from mpkernel.server.operations.crashes import CrashReport, SessionAtDeath
from mpkernel.server.operations.finding import PublishedServer
from mpkernel.server.operations.history import KEPT_STEPS, STEP_S, History, OrderRecord
from mpkernel.server.operations.snapshot import (
    AppSnapshot,
    Limits,
    ServerSnapshot,
    SessionSnapshot,
)
from mpkernel.server.supervision.tallies import Tallies

EVIL = "<script>alert(1)</script>\"'"
PATH = f"/srv/{EVIL}.py"


def evil_app() -> AppSnapshot:
    """An app all of whose texts would be code, if they were taken for HTML."""
    session = SessionSnapshot(
        session_id=EVIL,
        is_running=True,
        running=EVIL,
        done=0,
        window_used_bytes=0,
        waiting_bytes=0,
        acted_at=0.0,
        strikes=0,
    )
    host = msgspec.structs.replace(
        host_snapshot(1, EVIL),
        refusal=EVIL,
        sessions=[session],
        environment=EVIL,
        confine=EVIL,
        launch_wrapper=EVIL,
        worker=EVIL,
        pid_on_worker=5,
    )
    app = app_snapshot(PATH, Tallies(), host)
    limits = Limits(memory_hard_bytes=2048, sessions_max=7)
    return msgspec.structs.replace(
        app, name=f"{EVIL}.py", deaths=1, last_reason=EVIL, limits=limits
    )


def seen(*apps: AppSnapshot) -> Look:
    pool = pool_of(*apps)
    snapshot = ServerSnapshot(
        pid=4711,
        created_at=0.0,
        program=EVIL,
        version=EVIL,
        python=EVIL,
        started_at=0.0,
        taken_at=0.0,
        has_control=True,
        pool=pool,
    )
    told = History()
    told.add(pool, 10 * STEP_S)
    told.add_order(OrderRecord(0.0, EVIL, EVIL, True, EVIL))
    history = KnownHistory()
    history.add(told.since(0))
    session = SessionAtDeath(
        session_id=EVIL, was_running=True, running=EVIL, idle_s=0.0, thread=None, comes_back=True
    )
    report = CrashReport(
        at=0.0,
        server_pid=4711,
        version=EVIL,
        app=PATH,
        pid=1,
        reason=EVIL,
        what=EVIL,
        faults=EVIL,
        last_lines=[EVIL],
        memory=[],
        sessions=[session],
        worker=EVIL,
    )
    server = SeenServer(PublishedServer(Path("snapshot.json"), snapshot, None), history)
    return Look([server], [report], 0.0)


@pytest.mark.parametrize("view", [View(), View(4711), View(4711, PATH), View(1), View(4711, EVIL)])
def test_no_text_of_an_app_is_taken_for_html(view: View) -> None:
    made = page(view, lambda: seen(evil_app()))
    assert "could not be made" not in made
    assert "<script" not in made
    assert EVIL[-2:] not in made
    assert view_of({"server": str(view.server), "app": view.app}) == view


def test_no_number_is_too_large_for_a_page() -> None:
    host = msgspec.structs.replace(
        host_snapshot(1), rss_bytes=10**400, cpu=1e300, started_at=-1e300, threads=-(10**400)
    )
    app = app_snapshot(PATH, Tallies(), host)
    [server], [report], _ = seen(evil_app())
    snapshot = msgspec.structs.replace(server.published.snapshot, pool=pool_of(app))
    server = server._replace(published=server.published._replace(snapshot=snapshot))
    report = msgspec.structs.replace(report, at=1e300, pid=10**400)
    for view in (View(), View(4711), View(4711, PATH)):
        made = page(view, lambda: Look([server], [report], 0.0))
        assert "could not be made" not in made
        assert "process 1000" in made


def test_limits_stand_beside_the_values() -> None:
    made = page(View(4711, PATH), lambda: seen(evil_app()))
    text = re.sub(r"<[^>]+>", "", made)
    assert "memory_hard_bytes5 B of 2 KiB" in text
    assert "sessions_max1 of 7" in text
    assert "max_threads3 no limit" in text


def test_the_page_of_an_app_says_on_which_worker_each_process_runs() -> None:
    hosts = (host_snapshot(1, worker="tcp://10.0.0.7:4711"), host_snapshot(2, worker=""))
    app = app_snapshot(PATH, Tallies(), *hosts)
    text = re.sub(r"<[^>]+>", "", page(View(4711, PATH), lambda: seen(app)))
    assert "1001 on worker tcp://10.0.0.7:4711, where its process id is 501" in text
    assert "1002 waits for a worker of the cluster" in text


def test_a_page_that_cannot_be_made_says_so_and_goes_on() -> None:
    def fails() -> Look:
        raise OSError("the disk is on fire")

    assert "the disk is on fire" in page(View(), fails)


def test_a_history_that_is_told_bit_by_bit_is_that_which_is_told_at_once() -> None:
    history, known = History(), KnownHistory()
    for look in range(3 * (KEPT_STEPS + 50)):
        pid = look // 600
        host = msgspec.structs.replace(host_snapshot(pid), rss_bytes=look)
        history.add(pool_of(app_snapshot("a", Tallies(), host)), look * STEP_S / 3)
        if look % 7 == 0:
            known.add(history.since(known.last))
    known.add(history.since(known.last))
    whole = KnownHistory()
    whole.add(history.since(0))
    told = []
    for one in (known, whole):
        app = one.curve("a")
        assert app is not None
        curves = [app, *one.processes("a")]
        told.append([repr(one.values(curve, "memory_bytes")) for curve in curves])
    assert told[0] == told[1]
    assert len(told[0]) == 1 + 3
    assert told[0][0].endswith(f" {3 * (KEPT_STEPS + 50) - 1}.0]")


def test_a_curve_has_gaps_where_nothing_is_known_and_marks_where_processes_died() -> None:
    values = [math.nan, 1.0, 2.0, math.nan, 4.0]
    made = chart("memory", values, str, limit=8.0, deaths=[0.0, 0.0, 1.0, math.nan, 0.0])
    [line] = re.findall(r'<path d="([^"]+)"', made)
    assert line.count("M") == 2
    assert 'class="death" d="M360 0V120"' in made
    assert "now 4.0, at least 1.0, at most 4.0; marked: deaths of processes, 1" in made
    assert "limit 8.0" in made
    assert "CPU: not known" in sparkline([math.nan] * 5, "CPU", str)


def test_a_young_server_shows_the_minutes_that_it_has() -> None:
    unknown = [math.nan] * (KEPT_STEPS - 20)
    assert steps_to_show([*unknown, *[1.0] * 20]) == 30
    assert steps_to_show([1.0] * KEPT_STEPS) == KEPT_STEPS


def test_an_order_says_who_gives_it() -> None:
    ada = who_asks({"is_authenticated": True, "username": "ada"})
    assert ada == "ada (dashboard)"
    # So marimo calls whoever has the token: then it is the user that runs the dashboard.
    token = who_asks({"is_authenticated": True, "username": "user"})
    assert token == who_asks({}) != "user (dashboard)"
    offered = [one.order for one in orders_of(View(4711, "/a.py"), ada)]
    assert {order.who for order in offered} == {ada}
    assert [one.does for one in orders_of(View(4711), ada)] == ["Stop"]
    assert orders_of(View(), ada) == []
