"""Virtual files: stored in a host, named to the server, read there in chunks, removed.

"First": every block is new. "Again": freed blocks of that size are used again, as when a cell runs
again and again: both ends have mapped them before. marimo's storage makes no such difference.
Both over the same Pipes with the same messages; two files are alive at a time. The lower bound of
"again" is a copy into such a block and a copy out of it, with a message each way.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from typing import Any

from mpkernel import Channel, HostPool, KernelSpec, Session, Settings

from ..contenders import Figures
from ..measure import Measure, Target
from ..peers import OURS, Peer
from ..peers.copies import rate_of_copies
from ..suite import Run

_MIB = 1024 * 1024
_SIZES = {"64 KiB": _MIB // 16, "1 MiB": _MIB, "16 MiB": 16 * _MIB, "128 MiB": 128 * _MIB}
_MARIMO = "marimo's files"
_COPIES = "copies alone"
_WANTED = ("1 MiB, again", "16 MiB, again")
_ALIVE = 2

Read = Callable[[str, int], Iterator[bytes]]


def run(run: Run) -> list[Measure]:
    measures: dict[str, Measure] = {}
    total = run.choose(full=256 * _MIB, quick=32 * _MIB)
    with run.contenders(OURS, _MARIMO, _COPIES) as contenders:
        for name, size in _SIZES.items():
            if size > total:
                continue
            for way in ("first", "again"):
                key = f"{name}, {way}"
                targets = [Target(6.0, _MARIMO)] if key in _WANTED else []
                measures[key] = Measure(key, "GB/s", better="more", targets=targets)
            count = max(4, min(1024, total // size))
            for contender in run.by_turns(contenders, lambda contender: contender.name):
                measure = _MEASURED[contender.name]
                for key, value in contender.turn(measure, name, size, count).items():
                    measures[key].add(contender.name, value)
    return list(measures.values())


async def our_files(_: Peer, name: str, size: int, count: int) -> Figures:
    """Bytes a second, both ways."""
    rates = {}
    for way, settings in (("first", Settings(recycled_files_bytes=0)), ("again", Settings())):
        rates[f"{name}, {way}"] = await rate_of_files(settings, size, count)
    return rates


async def copies_alone(_: Peer, name: str, size: int, count: int) -> Figures:
    """GB/s, both ways, with no registry of files."""
    return {f"{name}, again": rate_of_copies(size, count)}


async def rate_of_files(settings: Settings, size: int, count: int) -> float:
    """Bytes a second, both ways, in a pool with these settings."""
    async with HostPool(settings) as pool:
        return await _rate(pool, _leases(pool), False, size, count)


async def marimo_files(_: Peer, name: str, size: int, count: int) -> Figures:
    """Bytes a second through marimo's storage on both sides."""
    read = _MarimoReads()
    async with HostPool() as pool:
        rate = await _rate(pool, read, True, size, count)
    read.forget()
    return {f"{name}, first": rate, f"{name}, again": rate}


_MEASURED = {OURS: our_files, _MARIMO: marimo_files, _COPIES: copies_alone}


def store(kernel: Any) -> None:
    """The kernel: answers "marimo size count" with so many files; marimo is 0 or 1."""
    for message in kernel:
        marimo, size, count = map(int, message.payload.split())
        storage = _marimo_storage() if marimo else kernel.files
        content = os.urandom(size)
        kernel.send(b"ready")
        alive: deque[str] = deque()
        for number in range(count):
            if len(alive) == _ALIVE:
                kernel.receive()
                storage.remove(alive.popleft())
            key = f"mpkbench{kernel.number}_{os.getpid()}_{number}"
            storage.store(key, content)
            alive.append(key)
            kernel.send(key.encode())
        while alive:
            kernel.receive()
            storage.remove(alive.popleft())
        kernel.send(b"")


async def _rate(pool: HostPool, read: Read, marimo: bool, size: int, count: int) -> float:
    with tempfile.NamedTemporaryFile(suffix=".py") as app:
        session = await pool.open_session(app.name, kernel=KernelSpec(entry=f"{__name__}:store"))
        await _read_files(session, read, marimo, size, 3 * _ALIVE)  # to warm up
        return await _read_files(session, read, marimo, size, count) / 1e9


async def _read_files(session: Session, read: Read, marimo: bool, size: int, count: int) -> float:
    session.send(Channel.CONTROL, b"%d %d %d" % (marimo, size, count))
    began = time.perf_counter()
    async for _, key in session:
        if key == b"ready":
            began = time.perf_counter()
            continue
        if not key:
            break
        total = sum(len(chunk) for chunk in read(key.decode(), size))
        assert total == size, f"{total} bytes of {size} arrived"
        session.send(Channel.CONTROL, b"read")
    return count * size / (time.perf_counter() - began)


def _leases(pool: HostPool) -> Read:
    def read(key: str, size: int) -> Iterator[bytes]:
        with pool.files.lease(key) as entry:
            yield from entry.chunks(0, size)

    return read


class _MarimoReads:
    """marimo's reading. It registers each block with the tracker that all contenders share, which
    would warn in the end of every one that its maker removed."""

    def __init__(self) -> None:
        self._storage = _marimo_storage()
        self._keys: set[str] = set()

    def __call__(self, key: str, size: int) -> Iterator[bytes]:
        self._keys.add(key)
        chunks: Iterator[bytes] = self._storage.read_chunked(key, size)
        return chunks

    def forget(self) -> None:
        for key in self._keys:
            resource_tracker.unregister(f"/{key}", "shared_memory")


def _marimo_storage() -> Any:
    from marimo._runtime.virtual_file.storage import SharedMemoryStorage

    return SharedMemoryStorage()
