"""Quotas: how much a session may keep, and all together, and what the error says."""

from __future__ import annotations

import pytest

from shm import KeyTaken, Owner, QuotaExceeded, Registry, ShmError
from shm.sources import BytesSource

ALICE = Owner("host", "alice")
BOB = Owner("host", "bob")
CAROL = Owner("another host", "carol")


def add(registry: Registry, key: str, owner: Owner = ALICE, size: int = 10) -> None:
    registry.register(key, BytesSource(memoryview(b"")), size, owner=owner)


def test_a_session_may_hold_so_much_and_the_error_says_how_much() -> None:
    registry = Registry(session_quota_bytes=2_000)
    add(registry, "1", ALICE, 1_500)
    with pytest.raises(QuotaExceeded) as caught:
        add(registry, "2", ALICE, 501)
    assert all(number in str(caught.value) for number in ("501", "2,000", "1,500", "session"))
    assert isinstance(caught.value, ShmError)
    add(registry, "2", ALICE, 500)
    add(registry, "3", BOB, 2_000)
    registry.release("1")
    add(registry, "4", ALICE, 1_500)


def test_all_sessions_together_may_hold_so_much() -> None:
    registry = Registry(quota_bytes=2_000)
    add(registry, "1", ALICE, 1_500)
    with pytest.raises(QuotaExceeded, match=r"501 bytes.*all sessions.*2,000.*1,500"):
        add(registry, "2", CAROL, 501)
    with registry.lease("1"):
        registry.release("1")
        with pytest.raises(QuotaExceeded):
            add(registry, "2", CAROL, 501)
    add(registry, "2", CAROL, 2_000)


def test_there_may_be_so_many_files() -> None:
    registry = Registry(max_files=2)
    add(registry, "1")
    add(registry, "2")
    with pytest.raises(QuotaExceeded, match="2 virtual files"):
        add(registry, "3", CAROL)
    registry.release("1")
    add(registry, "3", CAROL)


def test_what_would_be_refused_can_be_asked_beforehand_and_changes_nothing() -> None:
    registry = Registry(session_quota_bytes=10)
    add(registry, "1", ALICE)
    registry.check("2", 10, BOB)
    for key, owner, error in (
        ("1", BOB, KeyTaken),
        ("2", ALICE, QuotaExceeded),
        ("", BOB, ValueError),
    ):
        with pytest.raises(error):
            registry.check(key, 1, owner)
    assert len(registry) == 1
