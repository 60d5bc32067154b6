"""What a server used over the last hour, in bounded memory, and how an operator gets it."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import ItemsView, Iterator
from pathlib import Path

import msgspec
import pytest
from server.operators import user_directories
from server.snapshots import app_snapshot, host_snapshot, pool_of
from server.store.stored import APP, files_in, other_server
from waiting import until_async

from mpkernel import HostPool, PythonClient, Settings
from mpkernel.server.operations.finding import published_servers
from mpkernel.server.operations.history import KEPT_STEPS, STEP_S, Curve, History
from mpkernel.server.operations.orders import (
    Answer,
    Forget,
    Order,
    Restart,
    give_order,
    read_history,
)
from mpkernel.server.operations.snapshot import AppSnapshot
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.tallies import Tallies, Traffic


def app(
    path: str, *, messages: int = 0, rss: int = 5, deaths: int = 0, ping_s: float = 0.0
) -> AppSnapshot:
    tallies = Tallies()
    tallies.traffic = Traffic(messages=messages)
    if deaths:
        tallies.deaths[Reason.CRASH] = deaths
    if ping_s:
        tallies.ping.observe(ping_s)
    host = msgspec.structs.replace(host_snapshot(1), rss_bytes=rss, messages=messages, cpu=0.5)
    return app_snapshot(path, tallies, host)


def add(history: History, step: float, *apps: AppSnapshot) -> None:
    history.add(pool_of(*apps), step * STEP_S)


def curve(history: History, path: str, *, pid: int = 0, since: int = 0) -> Curve:
    [found] = [one for one in history.since(since).curves if (one.app, one.pid) == (path, pid)]
    return found


def line(curve: Curve, name: str) -> list[float]:
    return list(array("f", curve.lines[name]))


class TestCurves:
    def test_the_value_of_the_present_step_is_that_of_the_last_look(self) -> None:
        history = History()
        add(history, 7.0, app("a", rss=10))
        add(history, 7.5, app("a", rss=20))
        add(history, 8.0, app("a", rss=30))
        memory = curve(history, "a")
        assert (memory.first, line(memory, "memory_bytes")) == (7, [20, 30])
        assert line(curve(history, "a", pid=1001), "memory_bytes") == [20, 30]
        assert line(curve(history, ""), "memory_bytes") == [20, 30]

    def test_rates_deaths_and_latencies_are_those_of_their_step(self) -> None:
        history = History()
        add(history, 7.9, app("a", messages=100))
        add(history, 8.4, app("a", messages=150, deaths=1))
        add(history, 8.9, app("a", messages=300, deaths=1, ping_s=0.25))
        seen = curve(history, "a")
        assert line(seen, "messages_per_s") == [0, 20]
        assert line(seen, "deaths") == [0, 1]
        assert math.isnan(line(seen, "ping_s")[0])
        assert line(seen, "ping_s")[1] == 0.25

    def test_steps_without_a_look_have_no_value(self) -> None:
        history = History()
        add(history, 7.0, app("a"))
        add(history, 10.0, app("a"))
        values = line(curve(history, "a"), "sessions")
        assert [math.isnan(value) for value in values] == [False, True, True, False]

    def test_who_knows_the_beginning_gets_the_rest(self) -> None:
        history = History()
        for step in range(5):
            add(history, step, app("a", rss=step))
        rest = curve(history, "a", since=3)
        assert (rest.first, line(rest, "memory_bytes")) == (3, [3, 4])

    def test_an_hour_is_kept(self) -> None:
        history = History()
        for step in range(2 * KEPT_STEPS):
            add(history, step, app("a", rss=step))
        kept = curve(history, "a")
        assert kept.first == KEPT_STEPS - 1
        assert line(kept, "memory_bytes") == list(range(KEPT_STEPS - 1, 2 * KEPT_STEPS))
        assert len(history.since(0).curves) == 3
        add(history, 4 * KEPT_STEPS)
        assert [one.app for one in history.since(0).curves] == [""]

    def test_only_so_many_curves_are_kept_and_those_that_go_on_stay(self) -> None:
        history = History(max_curves=3)
        add(history, 0, app("a"))
        add(history, 1, app("b"))  # there is no room: those of "a" may go on
        assert {one.app for one in history.since(0).curves} == {"", "a"}
        add(history, 2, app("b"))
        assert {one.app for one in history.since(0).curves} == {"", "b"}

    def test_a_look_at_many_apps_searches_for_room_once(self) -> None:
        """Each search goes through all curves."""
        history = History(max_curves=3)
        many = [app(str(number)) for number in range(1000)]
        add(history, 0, *many)
        history._curves = searched = Searched(history._curves)
        add(history, 1, *many)
        assert searched.times == 2  # for room, and for those that are too old


class Searched(dict):
    """A dictionary that counts how often somebody goes through all of it."""

    times = 0

    def __iter__(self) -> Iterator[object]:
        self.times += 1
        return super().__iter__()

    def items(self) -> ItemsView[object, object]:
        self.times += 1
        return super().items()


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with user_directories(monkeypatch) as folder:
        yield folder


async def test_an_operator_reads_the_history_with_the_orders_that_were_given(
    user: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(user))
    served = user / "served.py"
    served.write_text("")
    kept = user / "kept"
    with other_server(kept) as dead:
        dead.change(b"one")
    settings = Settings(snapshot=True, control=True, session_store_directory="~/kept")
    async with HostPool(settings) as pool:
        client = await PythonClient.open(pool, str(served), session_id="visitor")
        while not (found := published_servers()):
            await asyncio.sleep(0.02)
        snapshot = found[0].path

        async def give(order: Order) -> Answer:
            return await asyncio.to_thread(give_order, order, snapshot)

        restart = Restart(str(served), rolling=True, who="ada")
        assert (await give(restart)).done
        forgotten = await give(Forget(APP, who="bob\nforged " + 200 * "x"))
        assert forgotten == Answer(True, "1 stored session forgotten")
        assert files_in(kept) == []
        told = await asyncio.to_thread(read_history, snapshot)
        says = [(one.who, one.what, one.done) for one in told.orders]
        assert says == [
            ("ada", f"rolling restart of {served}", True),
            ("bob\\nforged " + 89 * "x", f"forget of stored sessions of {APP}", True),
        ]
        logged = [record.getMessage() for record in caplog.records]
        assert any("order of ada: rolling restart of" in text for text in logged)

        def curves() -> list[Curve]:
            return [one for one in read_history(snapshot).curves if one.app == str(served)]

        while len(await asyncio.to_thread(curves)) < 2:
            await asyncio.sleep(0.02)
        await client.close()
    await until_async(lambda: not published_servers())
