"""A copy that several sessions share is of the one whose client sent something last."""

from __future__ import annotations

from pathlib import Path

import pytest
from server.store.stored import APP, KEY, files_in, store_in
from server.test_history import Searched

from mpkernel.server.store.session_store import SessionStore
from mpkernel.server.store.shared_copies import Membership, SharedCopies

pytestmark = pytest.mark.asyncio


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sessions"


class Tab:
    """A session that shares the copy of `KEY`."""

    def __init__(self, copies: SharedCopies, said: bytes) -> None:
        member = copies.join(KEY, APP, lambda: self.said)
        assert member is not None
        self.member: Membership = member
        self.said = said

    def say(self, said: bytes) -> None:
        self.said = said
        self.member.changed(by_client=True)


async def begun(copies: SharedCopies) -> bytes | None:
    """What a new session would begin with."""
    taken = await copies.take(KEY)
    return None if taken is None else taken.content


async def after_a_restart(directory: Path, store: SessionStore) -> bytes | None:
    await store.close()
    another = store_in(directory)
    found = await begun(SharedCopies(another, 60))
    await another.close()
    return found


async def test_it_is_of_the_session_whose_client_sent_something_last(directory: Path) -> None:
    store = store_in(directory)
    copies = SharedCopies(store, 60)
    assert await begun(copies) is None
    one, other = Tab(copies, b""), Tab(copies, b"")
    assert await begun(copies) is None  # nobody has sent anything
    one.say(b"one")
    assert await begun(copies) == b"one"
    other.say(b"other")
    one.said = b"what a kernel does changes nothing"
    one.member.changed(by_client=False)
    assert await begun(copies) == b"other"
    assert len(files_in(directory)) == 1
    assert await after_a_restart(directory, store) == b"other"


async def test_it_stays_when_its_sessions_are_over(directory: Path) -> None:
    store = store_in(directory)
    copies = SharedCopies(store, 60)
    one, other = Tab(copies, b""), Tab(copies, b"")
    one.say(b"one")
    other.say(b"other")
    other.member.leave(b"the last of other")
    assert await begun(copies) == b"the last of other"
    one.member.leave(b"the last of one")
    assert await begun(copies) == b"the last of other"
    third = Tab(copies, b"")
    third.say(b"third")
    assert await begun(copies) == b"third"
    assert await after_a_restart(directory, store) == b"third"


async def test_a_session_that_ended_its_process_gives_the_copy_to_another(directory: Path) -> None:
    store = store_in(directory)
    copies = SharedCopies(store, 60)
    one, other = Tab(copies, b""), Tab(copies, b"")
    one.say(b"one")
    other.say(b"other")
    other.member.forget()
    assert await begun(copies) == b"one"
    one.member.forget()
    assert await begun(copies) is None
    Tab(copies, b"").say(b"third")
    assert await begun(copies) == b"third"
    assert await after_a_restart(directory, store) == b"third"


async def test_a_copy_without_a_session_is_kept_for_its_time(directory: Path) -> None:
    store = store_in(directory, ttl_s=0)
    copies = SharedCopies(store, 0)
    one = Tab(copies, b"")
    one.say(b"one")
    assert await begun(copies) == b"one"  # its session lives
    one.member.leave(b"one")
    assert await begun(copies) is None
    await store.close()


async def test_of_a_store_that_is_closed_nothing_is_shared(directory: Path) -> None:
    store = store_in(directory)
    copies = SharedCopies(store, 60)
    await store.close()
    assert copies.join(KEY, APP, lambda: b"") is None
    assert await begun(copies) is None


async def test_of_those_without_a_session_the_latest_are_kept_and_no_other_is_looked_at(
    directory: Path,
) -> None:
    copies = SharedCopies(store_in(directory, delay_s=60), 60)
    members = [copies.join(str(number), APP, lambda: b"") for number in range(500)]
    copies._copies = searched = Searched(copies._copies)
    for member in members[100:]:
        assert member is not None
        member.leave(b"")
    assert copies.join("0", APP, lambda: b"") is not None
    assert list(copies._copies) == [str(n) for n in (*range(100), *range(300, 500))]
    searched.times = 0
    assert copies.join("499", APP, lambda: b"") is not None
    assert copies.join("0", APP, lambda: b"") is not None
    assert searched.times == 0
    assert list(copies._idle) == [str(number) for number in range(300, 499)]
