"""The registry: what can be found, who keeps it, and who may end it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shm import KeyTaken, NotOwner, Owner, Registry, new_key

ALICE = Owner("host", "alice")
BOB = Owner("host", "bob")
CAROL = Owner("another host", "carol")


class Bytes:
    """A source that counts what is done with it."""

    kind: Final = "memory"
    location: Final = ""

    def __init__(self, data: bytes = b"0123456789") -> None:
        self.data = data
        self.calls: list[str] = []

    def open(self, size: int) -> Bytes:
        return self

    def chunks(self, start: int, end: int, *, chunk_bytes: int = 4) -> Iterator[bytes]:
        for position in range(start, end, chunk_bytes):
            yield self.data[position : min(position + chunk_bytes, end)]

    def close(self) -> None:
        """Does nothing: nothing is open."""

    def released(self) -> None:
        self.calls.append("released")

    def free(self) -> None:
        self.calls.append("freed")


@pytest.fixture
def registry() -> Registry:
    return Registry()


def add(registry: Registry, key: str, owner: Owner = ALICE, size: int = 10) -> Bytes:
    source = Bytes()
    registry.register(key, source, size, owner=owner)
    return source


def test_a_key_is_128_random_bits_that_need_no_quoting() -> None:
    keys = {new_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", key) for key in keys)
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}\.png", new_key("png"))


def test_a_registered_file_is_found_as_it_was_registered(registry: Registry) -> None:
    before = time.time()
    registry.register("key", Bytes(), 7, owner=BOB, media_type="image/png")
    info = registry.lookup("key")
    assert info[:4] == ("key", 7, "image/png", BOB)
    assert (info.references, info.leases, info.released) == (1, 0, False)
    assert before <= info.registered_at <= time.time()
    assert "key" in registry
    assert len(registry) == 1
    assert registry.total_bytes == 7


@given(key=st.text())
def test_nothing_that_is_not_registered_is_found(key: str) -> None:
    registry = Registry()
    add(registry, "registered")
    if key == "registered":
        return
    assert key not in registry
    with pytest.raises(KeyError, match="no virtual file"):
        registry.lookup(key)
    with pytest.raises(KeyError, match="no virtual file"):
        registry.reference(key)
    with pytest.raises(KeyError, match="no virtual file"), registry.lease(key):
        pass
    registry.dereference(key)
    registry.release(key, BOB)
    assert len(registry) == 1


def test_a_long_name_is_not_repeated_in_full_when_it_is_not_found(registry: Registry) -> None:
    with pytest.raises(KeyError) as caught:
        registry.lookup("x" * 10_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("key", ["", "a/b", "../x", "nul\0", "x" * 256])
def test_what_is_no_key_is_refused(registry: Registry, key: str) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        add(registry, key)
    assert len(registry) == 0


def test_a_key_of_255_characters_is_one(registry: Registry) -> None:
    add(registry, "x" * 255)
    assert "x" * 255 in registry


def test_a_negative_size_is_refused(registry: Registry) -> None:
    with pytest.raises(ValueError, match="-1"):
        add(registry, "key", size=-1)


def test_a_key_is_taken_whoever_asks_for_it_again(registry: Registry) -> None:
    first = add(registry, "key", ALICE)
    for owner in (ALICE, BOB, CAROL):
        with pytest.raises(KeyTaken, match="'key'"):
            add(registry, "key", owner, size=99)
    assert registry.lookup("key").owner == ALICE
    assert registry.total_bytes == 10
    assert first.calls == []


def test_a_released_key_is_free_again(registry: Registry) -> None:
    add(registry, "key", ALICE)
    registry.release("key")
    add(registry, "key", BOB)
    assert registry.lookup("key").owner == BOB


def test_the_last_reference_frees_the_bytes_once(registry: Registry) -> None:
    source = add(registry, "key")
    registry.reference("key")
    registry.dereference("key")
    assert source.calls == []
    registry.dereference("key")
    registry.dereference("key")
    registry.release("key")
    assert source.calls == ["released", "freed"]
    assert "key" not in registry
    assert registry.total_bytes == 0


def test_a_release_ends_a_file_however_many_references_it_has(registry: Registry) -> None:
    source = add(registry, "key")
    registry.reference("key")
    registry.release("key")
    assert source.calls == ["released", "freed"]
    with pytest.raises(KeyError):
        registry.reference("key")


def test_nobody_but_its_owner_releases_a_file(registry: Registry) -> None:
    source = add(registry, "key", ALICE)
    for other in (BOB, CAROL, Owner("host")):
        with pytest.raises(NotOwner, match="'key'"):
            registry.release("key", other)
    assert source.calls == []
    registry.release("key", ALICE)
    assert source.calls == ["released", "freed"]


def test_a_lease_holds_the_bytes_of_a_released_file(registry: Registry) -> None:
    source = add(registry, "key")
    with registry.lease("key") as entry, registry.lease("key"):
        registry.release("key")
        assert source.calls == ["released"]
        assert "key" not in registry
        assert b"".join(entry.chunks()) == b"0123456789"
        assert registry.total_bytes == 10, "bytes that are held count"
    assert source.calls == ["released", "freed"]
    assert registry.total_bytes == 0


def test_a_lease_that_ends_leaves_a_registered_file_alone(registry: Registry) -> None:
    source = add(registry, "key")
    with pytest.raises(RuntimeError, match="reader"), registry.lease("key"):
        raise RuntimeError("of the reader")
    assert registry.lookup("key").leases == 0
    assert source.calls == []


def test_a_file_may_begin_with_readers(registry: Registry) -> None:
    source = Bytes()
    entry = registry.register("key", source, 10, owner=ALICE, leases=2)
    registry.release("key")
    registry.end_lease(entry)
    assert source.calls == ["released"]
    registry.end_lease(entry)
    assert source.calls == ["released", "freed"]


def test_a_lease_of_a_released_key_is_not_one_of_the_key_s_next_file(registry: Registry) -> None:
    old, new = add(registry, "key"), Bytes(b"new")
    with registry.lease("key") as entry:
        registry.release("key")
        registry.register("key", new, 3, owner=BOB)
        assert b"".join(entry.chunks()) == b"0123456789"
    assert old.calls == ["released", "freed"]
    assert new.calls == []
    assert registry.total_bytes == 3


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, None, b"01234567"),
        (2, 3, b"234"),
        (6, 100, b"67"),
        (8, 1, b""),
        (100, None, b""),
        (-5, 2, b""),
        (3, 0, b""),
        (3, -1, b""),
    ],
)
def test_a_range_of_an_entry_stays_within_the_registered_size(
    registry: Registry, start: int, length: int | None, expected: bytes
) -> None:
    add(registry, "key", size=8)
    with registry.lease("key") as entry:
        assert b"".join(entry.chunks(start, length, chunk_bytes=3)) == expected


def test_a_session_s_end_is_the_end_of_its_files_alone(registry: Registry) -> None:
    mine = [add(registry, f"alice {number}", ALICE) for number in range(3)]
    others = [add(registry, "bob", BOB), add(registry, "carol", CAROL)]
    registry.release_session(ALICE)
    assert [source.calls for source in mine] == [["released", "freed"]] * 3
    assert [source.calls for source in others] == [[], []]
    assert registry.total_bytes == 20


def test_a_host_s_end_is_the_end_of_all_its_sessions(registry: Registry) -> None:
    mine = [
        add(registry, "alice", ALICE),
        add(registry, "bob", BOB),
        add(registry, "0", Owner("host")),
    ]
    other = add(registry, "carol", CAROL)
    registry.release_host("host")
    assert [source.calls for source in mine] == [["released", "freed"]] * 3
    assert other.calls == []


def test_all_can_be_released_at_once(registry: Registry) -> None:
    sources = [add(registry, str(number), owner) for number, owner in enumerate((ALICE, CAROL))]
    with registry.lease("0"):
        registry.release_all()
        assert [source.calls for source in sources] == [["released"], ["released", "freed"]]
    assert sources[0].calls == ["released", "freed"]
    assert len(registry) == registry.total_bytes == 0


def test_a_snapshot_shows_the_oldest_first_and_what_only_readers_hold(registry: Registry) -> None:
    for key in ("1", "2", "3"):
        add(registry, key)
    registry.reference("2")
    with registry.lease("1"), registry.lease("2"):
        registry.release("1")
        shown = registry.snapshot()
    assert [file.key for file in shown.files] == ["1", "2", "3"]
    assert [file.released for file in shown.files] == [True, False, False]
    assert [file.leases for file in shown.files] == [1, 1, 0]
    assert [file.references for file in shown.files] == [1, 2, 1]
    assert shown.total_bytes == 30
    assert registry.snapshot().total_bytes == 20
