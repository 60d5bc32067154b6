"""Apps on the workers of a Dask cluster, over TCP on this machine, beside ZeroMQ over TCP.

A virtual file is compared with a bare connection of Dask's, over which as many bytes come from
another process.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection

from mpkernel import Channel, HostPool, KernelSpec

from ..contenders import Figures
from ..measure import Measure, Target
from ..peers import Peer
from ..suite import Run
from .files import store
from .round_trip import round_trips
from .throughput import flood

_OURS = "mpkernel, cluster"

_MIB = 1024 * 1024
_FILE_BYTES = 8 * _MIB
_FILE = "an 8 MiB file"


def run(run: Run) -> list[Measure]:
    measures = {
        "1 session, p50": Measure(
            "1 session, p50", "µs", targets=[Target(0.8, "ZeroMQ", who=_OURS)]
        ),
        "1 session, p99": Measure("1 session, p99", "µs"),
        "200 sessions, p50": Measure("200 sessions, p50", "µs"),
        "200 sessions, p99": Measure("200 sessions, p99", "µs"),
        "200 B": Measure("200 B", "k/s", better="more", targets=[Target(1.0, "ZeroMQ", who=_OURS)]),
        "1 MiB": Measure(
            "1 MiB", "GB/s", better="more", targets=[Target(1.0, "ZeroMQ", who=_OURS)]
        ),
        _FILE: Measure(_FILE, "GB/s", better="more", targets=[Target(0.5, "bare comm", who=_OURS)]),
    }
    with run.contenders(_OURS, "ZeroMQ") as contenders:
        trips = run.choose(full=4000, quick=600)
        run.alternate(contenders, measures, round_trips, "1 session", 1, trips)
        run.alternate(contenders, measures, round_trips, "200 sessions", 200, trips // 40)
        run.alternate(
            contenders, measures, flood, "200 B", 200, run.choose(full=120_000, quick=15_000)
        )
        run.alternate(contenders, measures, flood, "1 MiB", _MIB, run.choose(full=800, quick=100))
    count = run.choose(full=32, quick=8)
    with run.contenders(_OURS) as [ours]:
        for _ in range(run.options.repetitions):
            measures[_FILE].add(_OURS, ours.turn(files, count)[_FILE])
            measures[_FILE].add("bare comm", ours.turn(bare_comm, count)[_FILE])
    return list(measures.values())


async def files(peer: Peer, count: int) -> Figures:
    """Bytes a second from an app's file there to this process."""
    pool: HostPool = peer.pool  # type: ignore[attr-defined]
    with tempfile.NamedTemporaryFile(suffix=".py") as app:
        kernel = KernelSpec(entry=f"{store.__module__}:store")
        session = await pool.open_session(app.name, kernel=kernel)
        session.send(Channel.CONTROL, b"0 %d %d" % (_FILE_BYTES, count))
        read_s = 0.0
        async for _, key in session:
            if key == b"ready":
                continue
            if not key:
                break
            began = time.perf_counter()
            await asyncio.to_thread(_read, pool, key.decode())
            read_s += time.perf_counter() - began
            session.send(Channel.CONTROL, b"")
        await session.close()
    return {_FILE: count * _FILE_BYTES / read_s / 1e9}


def _read(pool: HostPool, key: str) -> None:
    with pool.files.lease(key) as entry:
        for _ in entry.chunks(0, _FILE_BYTES):
            pass


async def bare_comm(_: Peer, count: int) -> Figures:
    """The same bytes over a connection of Dask's, from another process."""
    from distributed.comm import connect

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_comm, args=(theirs,), daemon=True)
    process.start()
    comm = await connect(await asyncio.to_thread(ours.recv))
    read_s = 0.0
    for _turn in range(count):
        began = time.perf_counter()
        await comm.write("next")
        await comm.read()
        read_s += time.perf_counter() - began
    comm.abort()
    process.terminate()
    process.join()
    return {_FILE: count * _FILE_BYTES / read_s / 1e9}


def _serve_comm(pipe: Connection) -> None:
    asyncio.run(_answer(pipe))


async def _answer(pipe: Connection) -> None:
    from distributed.comm import CommClosedError, listen
    from distributed.protocol import to_serialize

    content = bytes(_FILE_BYTES)

    async def answer(comm) -> None:  # type: ignore[no-untyped-def]
        try:
            while await comm.read():
                await comm.write({"file": to_serialize(content)})
        except CommClosedError:
            return

    async with listen("tcp://127.0.0.1:0", answer) as listener:
        pipe.send(listener.contact_address)
        await asyncio.Event().wait()
