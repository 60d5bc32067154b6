"""No sequence of calls leaks a block, frees one twice, or shows another file's bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from shm import (
    Entry,
    KeyTaken,
    Owner,
    QuotaExceeded,
    Recycler,
    Registry,
    SharedMemoryStorage,
    new_key,
)
from shm.names import own_tag

OWNERS = [Owner(host, session) for host in ("host", "other") for session in (1, 2)]
KIB = 1024
CHUNK_BYTES = 3000
MAX_BYTES = 40 * KIB
MAX_AGE_S = 30
QUOTA_BYTES = 150_000
SESSION_QUOTA_BYTES = 60_000
MAX_FILES = 12


@dataclass(eq=False)
class File:
    """What the test expects of a file."""

    key: str
    data: bytes
    owner: Owner
    references: int = 1
    leases: int = 0


@dataclass(eq=False)
class Reader:
    """A reader that holds a file's bytes, and has read some of them."""

    file: File
    lease: AbstractContextManager[Entry]
    entry: Entry
    chunks: Iterator[bytes]
    read: bytes = b""


def own_blocks() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if name.startswith(own_tag().prefix)}


class Storage(RuleBasedStateMachine):
    keys = Bundle("keys")
    readers = Bundle("readers")

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.others_blocks = own_blocks()
        self.files: dict[str, File] = {}
        self.open: list[Reader] = []
        self.recycler = Recycler(
            max_bytes=MAX_BYTES, max_age_s=MAX_AGE_S, max_mapped=2, clock=lambda: self.now
        )
        self.registry = Registry(
            session_quota_bytes=SESSION_QUOTA_BYTES, quota_bytes=QUOTA_BYTES, max_files=MAX_FILES
        )
        self.storage = SharedMemoryStorage(
            registry=self.registry, recycler=self.recycler, fallback=None
        )

    @rule(
        target=keys,
        size=st.one_of(st.integers(0, 9000), st.sampled_from([4096, 8192, 20_000, 50_000])),
        fill=st.integers(0, 255),
        owner=st.sampled_from(OWNERS),
    )
    def store(self, size: int, fill: int, owner: Owner) -> object:
        data = bytes((fill + position // CHUNK_BYTES) % 256 for position in range(size))
        file = File(new_key(), data, owner)
        if self.is_over_a_quota(file):
            with pytest.raises(QuotaExceeded):
                self.storage.store(file.key, data, owner=owner)
            return multiple()
        self.storage.store(file.key, data, owner=owner)
        self.files[file.key] = file
        return file.key

    @rule(key=keys)
    def store_under_a_key_that_is_taken(self, key: str) -> None:
        if key in self.files:
            with pytest.raises(KeyTaken):
                self.storage.store(key, b"other")

    @rule(key=consumes(keys))
    def remove(self, key: str) -> None:
        self.storage.remove(key)
        self.files.pop(key, None)

    @rule(key=keys)
    def reference(self, key: str) -> None:
        if key in self.files:
            self.registry.reference(key)
            self.files[key].references += 1
        else:
            with pytest.raises(KeyError):
                self.registry.reference(key)

    @rule(key=keys)
    def dereference(self, key: str) -> None:
        self.registry.dereference(key)
        file = self.files.get(key)
        if file is not None:
            file.references -= 1
            if not file.references:
                del self.files[key]

    @rule(target=readers, key=keys, start=st.integers(0, 6000))
    def begin_to_read(self, key: str, start: int) -> object:
        lease = self.registry.lease(key)
        if key not in self.files:
            with pytest.raises(KeyError):
                lease.__enter__()
            return multiple()
        file = self.files[key]
        entry = lease.__enter__()
        file.leases += 1
        reader = Reader(file, lease, entry, entry.chunks(start, chunk_bytes=CHUNK_BYTES))
        reader.read = file.data[:start]
        self.open.append(reader)
        return reader

    @rule(reader=readers)
    def read_on(self, reader: Reader) -> None:
        reader.read += next(reader.chunks, b"")
        assert reader.file.data.startswith(reader.read)

    @rule(reader=consumes(readers))
    def end_reading(self, reader: Reader) -> None:
        reader.read += b"".join(reader.chunks)
        assert reader.read == reader.file.data
        reader.lease.__exit__(None, None, None)
        reader.file.leases -= 1
        self.open.remove(reader)

    @rule(owner=st.sampled_from(OWNERS))
    def release_session(self, owner: Owner) -> None:
        self.registry.release_session(owner)
        self.files = {k: file for k, file in self.files.items() if file.owner != owner}

    @rule(host=st.sampled_from(["host", "other", "unknown"]))
    def release_host(self, host: str) -> None:
        self.registry.release_host(host)
        self.files = {k: file for k, file in self.files.items() if file.owner.host != host}

    @rule(seconds=st.integers(0, 60))
    def expire(self, seconds: int) -> None:
        self.now += seconds
        due = self.recycler.expire()
        assert (due is None) == (self.recycler.free_blocks == 0)
        assert due is None or 0 < due <= MAX_AGE_S
        if seconds >= MAX_AGE_S:
            assert self.recycler.free_blocks == 0

    @invariant()
    def every_file_has_its_own_bytes(self) -> None:
        for key, file in self.files.items():
            assert self.storage.read(key, len(file.data)) == file.data
        for reader in self.open:
            assert b"".join(reader.entry.chunks()) == reader.file.data

    @invariant()
    def the_registry_knows_the_files_and_no_others(self) -> None:
        assert len(self.registry) == len(self.files)
        shown = self.registry.snapshot()
        assert sorted((f.key, f.size, f.owner, f.references, f.leases) for f in shown.files) == (
            sorted((f.key, len(f.data), f.owner, f.references, f.leases) for f in self.live())
        )
        held = sum(len(file.data) for file in self.live())
        assert shown.total_bytes == self.registry.total_bytes == held

    @invariant()
    def no_two_files_share_a_block_and_none_is_lost(self) -> None:
        in_use = {}
        for key in self.files:
            with self.registry.lease(key) as entry:
                in_use[id(entry)] = entry.source.location
        in_use |= {id(reader.entry): reader.entry.source.location for reader in self.open}
        assert len(set(in_use.values())) == len(in_use)
        assert self.recycler.blocks == len(in_use) + self.recycler.free_blocks
        assert set(in_use.values()) <= own_blocks() - self.others_blocks
        assert len(own_blocks() - self.others_blocks) == self.recycler.blocks

    @invariant()
    def no_more_waits_than_may(self) -> None:
        assert self.recycler.free_bytes <= MAX_BYTES

    def teardown(self) -> None:
        for reader in list(self.open):
            self.end_reading(reader)
        self.registry.release_all()
        assert self.registry.snapshot() == ([], 0)
        assert self.recycler.blocks == self.recycler.free_blocks
        assert len(own_blocks() - self.others_blocks) == self.recycler.free_blocks
        self.storage.close()
        assert own_blocks() == self.others_blocks

    def live(self) -> list[File]:
        """The files that are registered or held by a reader."""
        held = [reader.file for reader in self.open]
        return list({id(file): file for file in [*self.files.values(), *held]}.values())

    def is_over_a_quota(self, file: File) -> bool:
        everybody_s = sum(len(live.data) for live in self.live())
        mine = sum(len(live.data) for live in self.live() if live.owner == file.owner)
        return (
            len(self.files) >= MAX_FILES
            or everybody_s + len(file.data) > QUOTA_BYTES
            or mine + len(file.data) > SESSION_QUOTA_BYTES
        )


TestStorage = Storage.TestCase
TestStorage.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
