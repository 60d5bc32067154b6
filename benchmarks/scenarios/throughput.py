"""How fast a kernel's output arrives: the same bytes object, sent again and again."""

from __future__ import annotations

import time

from ..contenders import Figures
from ..measure import Measure, Target
from ..peers import Peer
from ..suite import Run

_KIB, _MIB = 1024, 1024 * 1024
_LARGE = 64 * _KIB  # from here on a copy is what counts

# By size: the name, how many messages a turn sends, the target (messages of ours to ZeroMQ's).
_SIZES = {
    200: ("200 B", 120_000, 10.0),
    4 * _KIB: ("4 KiB", 60_000, 7.0),
    64 * _KIB: ("64 KiB", 8_000, 4.0),
    _MIB: ("1 MiB", 800, 5.0),
    16 * _MIB: ("16 MiB", 40, 4.0),
}


def run(run: Run) -> list[Measure]:
    measures: dict[str, Measure] = {}
    names = ["mpkernel", "ZeroMQ", "mp.Queue", "bare Pipes", "bare threads"]
    with run.contenders(*names, "memcpy") as contenders:
        for size, (name, count, target) in _SIZES.items():
            large = size >= _LARGE
            targets = [Target(target, "ZeroMQ")]
            if not large:
                targets.append(Target(1.0, "bare Pipes"))
            measures[name] = Measure(
                name,
                "GB/s" if large else "k/s",
                better="more",
                targets=targets,
            )
            other = "bare threads" if large else "memcpy"
            taking_part = [one for one in contenders if one.name != other]
            count = run.choose(full=count, quick=max(12, count // 8))
            run.alternate(taking_part, measures, flood, name, size, count)
    return list(measures.values())


async def flood(peer: Peer, name: str, size: int, count: int) -> Figures:
    """The rate at which so many messages arrive, from the first to the last."""
    session = await (await peer.open_host()).open_session()
    for messages in (max(4, count // 20), count):  # the first to warm up
        session.send(b"flood %d %d" % (messages, size))
        await session.receive()
        began = time.perf_counter()
        for _ in range(messages - 1):
            await session.receive()
        rate = (messages - 1) / (time.perf_counter() - began)
    return {name: rate * size / 1e9 if size >= _LARGE else rate / 1e3}
