"""Virtual files: stored in a host, named to the server, read there in chunks. `python -m
benchmarks.files`

Three ways in one run, by turns, over the same Pipes with the same messages:

    re-rendered   mpkernel's, blocks of the size class free and warm
    first         mpkernel's, every block fresh
    marimo        marimo's `SharedMemoryStorage` on both sides

A kernel stores file after file, two of them alive at a time, as a cell does that runs again and
again; the client reads each when it is named, and says so; then the kernel removes it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import uvloop

from mpkernel import Channel, HostPool, KernelSpec, Session, Settings

_CHUNK_BYTES = 256 * 1024
_ALIVE = 2
_WAYS = ("re-rendered", "first", "marimo")
_MIB = 1024 * 1024
_SIZES = {"64 KiB": _MIB // 16, "1 MiB": _MIB, "16 MiB": 16 * _MIB, "128 MiB": 128 * _MIB}

Read = Callable[[str, int], Iterator[bytes]]


def marimo_storage() -> Any:
    """marimo's own, as its app hosts and its server use it."""
    from marimo._runtime.virtual_file.storage import SharedMemoryStorage

    return SharedMemoryStorage()


def store_files(kernel: Any) -> None:
    """The kernel: answers "way size count" with so many files."""
    for message in kernel:
        way, size, count = message.payload.decode().split()
        storage = marimo_storage() if way == "marimo" else kernel.files
        content = os.urandom(int(size))
        kernel.send(b"ready")
        alive: deque[str] = deque()
        for number in range(int(count)):
            if len(alive) == _ALIVE:
                kernel.receive()
                storage.remove(alive.popleft())
            key = f"mpkbench{os.getpid()}_{number}"
            storage.store(key, content)
            alive.append(key)
            kernel.send(key.encode())
        while alive:
            kernel.receive()
            storage.remove(alive.popleft())
        kernel.send(b"")


async def read_files(session: Session, read: Read, way: str, size: int, count: int) -> float:
    """Read so many files; returns bytes a second."""
    session.send(Channel.CONTROL, f"{way} {size} {count}".encode())
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


async def measure(repetitions: int, only: str | None) -> None:
    """Print a line for each size."""
    print(
        f"{'GB/s':>12}" + "".join(f"{way:>14}" for way in _WAYS) + "   ratios to marimo (min-max)"
    )
    spec = KernelSpec(entry="benchmarks.files:store_files")
    app = __file__
    warm, fresh = HostPool(), HostPool(Settings(recycled_files_bytes=0))
    theirs = marimo_storage()

    def ours(pool: HostPool) -> Read:
        def read(key: str, size: int) -> Iterator[bytes]:
            with pool.files.lease(key) as entry:
                yield from entry.chunks(0, size, chunk_bytes=_CHUNK_BYTES)

        return read

    async with warm, fresh:
        sessions = {
            "re-rendered": (await warm.open_session(app, kernel=spec), ours(warm)),
            "first": (await fresh.open_session(app, kernel=spec), ours(fresh)),
            "marimo": (await warm.open_session(app, kernel=spec), theirs.read_chunked),
        }
        for label, size in _SIZES.items():
            if only is not None and label != only:
                continue
            count = max(8, min(1024, 512 * _MIB // size))
            rates: dict[str, list[float]] = {way: [] for way in _WAYS}
            for repetition in range(-1, repetitions):
                for way, (session, read) in sessions.items():
                    rate = await read_files(session, read, way, size, count)
                    if repetition >= 0:
                        rates[way].append(rate)
            print(_line(label, rates), flush=True)


def _line(label: str, rates: dict[str, list[float]]) -> str:
    line = f"{label:>12}"
    line += "".join(f"{statistics.median(rates[way]) / 1e9:>14.2f}" for way in _WAYS)
    for way in _WAYS[:2]:
        ratios = [ours / theirs for ours, theirs in zip(rates[way], rates["marimo"], strict=True)]
        line += f"   {statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
    return line


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--size", choices=list(_SIZES), help="default: each")
    arguments = parser.parse_args()
    # Reading through marimo's storage registers each block with the reader's tracker, which then
    # warns of every one that its maker removed.
    os.environ["PYTHONWARNINGS"] = "ignore"
    uvloop.run(measure(arguments.repetitions, arguments.size))


if __name__ == "__main__":
    main()
