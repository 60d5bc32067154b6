"""What each further session of one host costs, up to 1,000, and each further host, up to 40.

Costs are the time until it runs, and the unique memory of the server and its hosts. The last
section is compared with the one before: this tells whether the cost of one grows with their number.
And what a session costs of an app that has eight processes, beside bare threads in one process and
in eight: the lower bounds.
"""

from __future__ import annotations

import time

import psutil

from ..contenders import Figures
from ..measure import Measure, Target
from ..peers import OURS, Host, Peer
from ..suite import Run

_NOISE = 1.25
_ON_EIGHT = "mpkernel, 8 processes"
_OF_MANY = "a session of an app with many"
_MOST_REPETITIONS = 2  # each repetition has many steps, so that few repetitions are enough


def run(run: Run) -> list[Measure]:
    sessions = run.choose(full=(10, 100, 1000), quick=(10, 100))
    hosts = run.choose(full=(5, 20, 40), quick=(2, 6))
    measures: dict[str, Measure] = {}
    for kind, steps in (("session", sessions), ("host", hosts)):
        for unit in ("ms", "KiB"):
            for step in steps:
                name = f"a {kind}, up to {step}: {unit}"
                measures[name] = Measure(name, unit)
            name = f"a {kind}'s {unit}, of the last {kind}s to those before"
            measures[name] = Measure(name, "x", targets=[Target(_NOISE)])
    measures[_OF_MANY] = Measure(_OF_MANY, "ms", targets=[Target(_NOISE, OURS, who=_ON_EIGHT)])
    many = run.choose(full=400, quick=40)
    floors = ("bare threads", "bare threads, 8 processes")
    with run.contenders(OURS, _ON_EIGHT, *floors) as contenders:
        run.alternate(contenders, measures, one_of_many, many)
    with run.contenders(OURS, "ZeroMQ", "mp.Queue") as contenders:
        run.alternate(contenders, measures, more_sessions, sessions, most=_MOST_REPETITIONS)
        run.alternate(contenders, measures, more_hosts, hosts, most=_MOST_REPETITIONS)
    return list(measures.values())


async def one_of_many(peer: Peer, many: int) -> Figures:
    """Sessions of one app, which are opened one after another."""
    host = await peer.open_host()
    await _open(host)
    began = time.perf_counter()
    for _ in range(many):
        await _open(host)
    return {_OF_MANY: 1e3 * (time.perf_counter() - began) / many}


async def more_sessions(peer: Peer, steps: tuple[int, ...]) -> Figures:
    """Sessions of one host; the first is not counted."""
    host = await peer.open_host()
    await _open(host)
    figures, count = {}, 1
    for step in steps:
        before, began = _memory([host]), time.perf_counter()
        for _ in range(step - count):
            await _open(host)
        figures.update(_each("session", step, step - count, began, before, [host]))
        count = step
    return figures | _growth("session", steps, figures)


async def more_hosts(peer: Peer, steps: tuple[int, ...]) -> Figures:
    """Hosts, each with a session, one after another; the first is not counted."""
    hosts = [await peer.open_host()]
    await _open(hosts[0])
    figures: Figures = {}
    for step in steps:
        count = len(hosts)
        before, began = _memory(hosts), time.perf_counter()
        for _ in range(step - count):
            host = await peer.open_host()
            await _open(host)
            hosts.append(host)
        figures.update(_each("host", step, step - count, began, before, hosts))
    return figures | _growth("host", steps, figures)


def _each(
    kind: str, step: int, count: int, began: float, before: int, hosts: list[Host]
) -> Figures:
    took_s = time.perf_counter() - began
    return {
        f"a {kind}, up to {step}: ms": 1e3 * took_s / count,
        f"a {kind}, up to {step}: KiB": (_memory(hosts) - before) / 1024 / count,
    }


def _growth(kind: str, steps: tuple[int, ...], figures: Figures) -> Figures:
    return {
        f"a {kind}'s {unit}, of the last {kind}s to those before": (
            figures[f"a {kind}, up to {steps[-1]}: {unit}"]
            / figures[f"a {kind}, up to {steps[-2]}: {unit}"]
        )
        for unit in ("ms", "KiB")
    }


async def _open(host: Host) -> None:
    session = await host.open_session()
    session.send(b"echo")
    await session.receive()


def _memory(hosts: list[Host]) -> int:
    processes = [psutil.Process(), *(psutil.Process(host.pid) for host in hosts)]
    return sum(process.memory_full_info().uss for process in processes)
