"""Work that grows with the number of sessions and files lets the loop do other work in between."""

from __future__ import annotations

import asyncio
from collections import Counter

from halves import host_of, queued_of
from server.conftest import Open
from server.simulated import Client, SlowJournal
from turns import Turns, work
from waiting import PATIENCE_S

from mpkernel import HostPool
from mpkernel.server.hosts.announced_files import AnnouncedFiles
from mpkernel.server.hosts.credits import Credits
from mpkernel.server.operations.observing import Rates, snapshot_of
from mpkernel.wire.messages import Credit
from shm import Registry
from shm.names import own_tag


async def test_a_snapshot_shows_the_sessions_that_are_there_at_its_end(
    pool: HostPool, open_kernel: Open
) -> None:
    session = await open_kernel("echo")
    table = host_of(session)._table
    visitors = [Client(queued_of(session).app, f"visitor {n}", SlowJournal()) for n in range(40)]
    for visitor in visitors:
        table.add(visitor)
    first, *staying, last = visitors
    staying[0]._outbox.outstanding_bytes = 1000
    newcomer = Client(queued_of(session).app, "newcomer", SlowJournal())
    try:
        with Turns() as turns:
            looking = asyncio.ensure_future(snapshot_of(pool, Rates()))
            await asyncio.sleep(0)  # the first slice
            table.remove(first)
            table.remove(last)
            table.add(newcomer)
            staying[0].credited(1000)
            snapshot = await looking
    finally:
        for one in (*staying, newcomer):
            table.remove(one)
    assert turns.count >= 4
    [app] = snapshot.apps
    shown = [one.session_id for one in app.hosts[0].sessions]
    assert shown == [session.session_id, *(one.session_id for one in staying)]
    assert app.totals.kernel_input_bytes == 1000  # not counted twice: it would go back next time


async def test_credits_of_many_sessions_are_sent_in_many_turns(
    pool: HostPool, open_kernel: Open
) -> None:
    session = await open_kernel("echo")
    told: Counter[int] = Counter()
    turns_of_told: set[int] = set()

    def tell(number: int, credit: Credit) -> None:
        work(0.0001)
        told[number] += credit.bytes
        turns_of_told.add(turns.count)

    owed = Credits(asyncio.get_running_loop(), host_of(session)._incoming.limits, tell)
    with Turns() as turns:
        for number in range(1000):
            owed.taken(number, 1)
            owed.taken(number, 2)
        async with asyncio.timeout(PATIENCE_S):
            while len(told) < 1000:
                await asyncio.sleep(0)
    assert set(told.values()) == {3}
    assert len(turns_of_told) >= 4


async def test_a_large_credit_is_sent_at_once_and_one_of_an_ended_session_never(
    open_kernel: Open,
) -> None:
    limits = host_of(await open_kernel("echo"))._incoming.limits
    told: list[tuple[int, int]] = []
    owed = Credits(
        asyncio.get_running_loop(),
        limits,
        lambda number, credit: told.append((number, credit.bytes)),
    )
    owed.taken(1, 10)
    owed.taken(1, limits.credit_bytes)
    assert told == [(1, 10 + limits.credit_bytes)]
    owed.taken(2, 20)
    owed.taken(3, 30)
    owed.forget(2)
    async with asyncio.timeout(PATIENCE_S):
        while len(told) < 2:
            await asyncio.sleep(0.001)
    assert told[1:] == [(3, 30)]


async def test_a_process_is_told_of_many_freed_files_in_many_turns() -> None:
    told: list[str] = []
    batches: Counter[int] = Counter()

    def tell(keys: list[str]) -> None:
        told.extend(keys)
        batches[turns.count] += len(keys)

    files = AnnouncedFiles(
        Registry(), own_tag(), asyncio.get_running_loop(), tell, app="/app.py", mapped_age_s=30.0
    )
    keys = [str(number) for number in range(45_000)]
    with Turns() as turns:
        for key in keys:
            files.removed(key)
        async with asyncio.timeout(PATIENCE_S):
            while len(told) < len(keys):
                await asyncio.sleep(0)
    assert told == keys
    # The counter of turns is itself called once a turn, before the work or after it.
    assert max(batches.values()) <= 2000
