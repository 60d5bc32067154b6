"""The server's CPU time for each message, the consumer's time included: at 10,000 messages a
second, and when they come as fast as they can. With bare threads, the lower bound, the server only
wakes up, reads, and hands the message to a coroutine."""

from __future__ import annotations

import time

from ..contenders import Figures
from ..measure import Measure, Target
from ..peers import Peer
from ..suite import Run

_RATE = 10_000
_SIZE = 200


def run(run: Run) -> list[Measure]:
    measures = {
        "cost": Measure("server CPU a message", "µs", targets=[Target(0.25, "ZeroMQ")]),
        "flood": Measure("server CPU a message of a flood", "µs", targets=[Target(0.1, "ZeroMQ")]),
        "rate": Measure("messages that arrived a second", "1/s", better="more"),
    }
    seconds = run.choose(full=1.5, quick=0.5)
    with run.contenders("mpkernel", "ZeroMQ", "mp.Queue", "bare threads") as contenders:
        run.alternate(contenders, measures, paced, int(_RATE * seconds))
        run.alternate(contenders, measures, flooded, run.choose(full=200_000, quick=20_000))
    return list(measures.values())


async def flooded(peer: Peer, count: int) -> Figures:
    """The same for messages that are sent without a pause."""
    session = await (await peer.open_host()).open_session()
    for messages in (count // 10, count):  # the first to warm up
        session.send(b"flood %d %d" % (messages, _SIZE))
        cpu_s = time.process_time()
        for _ in range(messages):
            await session.receive()
        cpu_s = time.process_time() - cpu_s
    return {"flood": 1e6 * cpu_s / count}


async def paced(peer: Peer, count: int) -> Figures:
    """Microseconds of the server's CPU time, of all its threads, for each message."""
    session = await (await peer.open_host()).open_session()
    session.send(b"pace %d %d %d" % (_RATE, _RATE // 10, _SIZE))
    for _ in range(_RATE // 10):
        await session.receive()
    cpu_s, began = time.process_time(), time.perf_counter()
    session.send(b"pace %d %d %d" % (_RATE, count, _SIZE))
    for _ in range(count):
        await session.receive()
    cpu_s, took_s = time.process_time() - cpu_s, time.perf_counter() - began
    return {"cost": 1e6 * cpu_s / count, "rate": count / took_s}
