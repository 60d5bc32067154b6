"""What grows with the number of sessions and files leaves the loop its turns."""

from __future__ import annotations

import asyncio
from collections import Counter

from server.conftest import Open
from server.simulated import Client, SlowJournal, World
from turns import Turns, work

from mpkernel import HostPool, Settings
from mpkernel.server.files import AnnouncedFiles
from mpkernel.server.observing import Rates, snapshot_of
from mpkernel.server.roster import Roster
from shm import Registry
from shm.names import own_tag


class Debtor(Client):
    """Owes credit, and takes its time to pay."""

    payments: Counter[int]
    turns: Turns

    def pay_credit(self) -> None:
        work(0.0001)
        self.payments[self.turns.count] += 1


async def test_a_snapshot_shows_the_sessions_that_are_there_at_its_end(
    pool: HostPool, open_kernel: Open
) -> None:
    session = await open_kernel("echo")
    roster = session.host._roster
    visitors = [Client(session.app, f"visitor {n}", SlowJournal()) for n in range(40)]
    for visitor in visitors:
        roster.add(visitor)
    first, *staying, last = visitors
    staying[0]._outstanding = 1000
    newcomer = Client(session.app, "newcomer", SlowJournal())
    try:
        with Turns() as turns:
            looking = asyncio.ensure_future(snapshot_of(pool, Rates()))
            await asyncio.sleep(0)  # the first slice
            roster.remove(first)
            roster.remove(last)
            roster.add(newcomer)
            staying[0].credited(1000)
            snapshot = await looking
    finally:
        for one in (*staying, newcomer):
            roster.remove(one)
    assert turns.count >= 4
    [app] = snapshot.apps
    shown = [one.session_id for one in app.hosts[0].sessions]
    assert shown == [session.session_id, *(one.session_id for one in staying)]
    assert app.totals.kernel_input_bytes == 1000  # not counted twice: it would go back next time


async def test_credits_of_many_sessions_are_sent_in_many_turns() -> None:
    app = World(Settings()).app
    roster = Roster("/app.py", asyncio.get_running_loop(), lambda number: None)
    Debtor.payments = Counter()
    with Turns() as Debtor.turns:
        for number in range(1000):
            roster.owe_credit(Debtor(app, f"debtor {number}", None))
        async with asyncio.timeout(30):
            while Debtor.payments.total() < 1000:
                await asyncio.sleep(0)
    assert len(Debtor.payments) >= 4


async def test_a_process_is_told_of_many_freed_files_in_many_turns() -> None:
    told: list[str] = []
    batches: Counter[int] = Counter()

    def tell(keys: list[str]) -> None:
        told.extend(keys)
        batches[turns.count] += len(keys)

    files = AnnouncedFiles(
        Registry(), own_tag(), asyncio.get_running_loop(), tell, mapped_age_s=30.0
    )
    keys = [str(number) for number in range(45_000)]
    with Turns() as turns:
        for key in keys:
            files.removed(key)
        async with asyncio.timeout(30):
            while len(told) < len(keys):
                await asyncio.sleep(0)
    assert told == keys
    # The counter of turns is itself called once a turn, before the work or after it.
    assert max(batches.values()) <= 2000
