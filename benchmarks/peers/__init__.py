"""The peers: ways from a kernel's thread to a client's task and back. mpkernel is one of them.

All have the same small surface and end at the same two places: `benchmarks.workload` on a thread
of the host's process, and a coroutine of the server's loop. One file each:

    ours.py          mpkernel's HostPool
    zeromq.py        what marimo's app host does; its process is zeromq_host.py
    queues.py        a pair of multiprocessing.Queue
    pipes.py         two Pipes, blocking, with nothing around them: the floor of one session
    bare_threads.py  a loop and kernel threads, with nothing around them: the floor of many sessions
    marimo_hosts.py  marimo's own app hosts, only started
    memcpy.py        one copy in memory: what large data costs at the least
    copies.py        virtual files without their registry: a copy into a block, and one out of it
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import NamedTuple, Protocol, Self

__all__ = [
    "LOWER_BOUNDS",
    "ON_PYTHON",
    "OURS",
    "PEERS",
    "ROOT",
    "Host",
    "Peer",
    "PeerSession",
    "make",
    "missing",
]

ROOT = Path(__file__).parents[len(__name__.split("."))]
"""The folder that the benchmarks are imported from."""

OURS = "mpkernel"
ON_PYTHON = "mpkernel on "
"""Followed by the path of an interpreter: a peer whose hosts run in it."""


class PeerSession(Protocol):
    """The client's end of a session with one kernel."""

    def send(self, payload: bytes) -> None:
        """Send a command to the kernel."""

    async def receive(self) -> object:
        """The next message of the kernel."""


class Host(Protocol):
    """A process with kernels."""

    @property
    def pid(self) -> int:
        """Its process id, once it has a session."""

    async def open_session(self) -> PeerSession:
        """Start a kernel; returns when it runs."""

    async def close(self) -> None:
        """End the process, whatever it does."""


class Peer(Protocol):
    """A way to start hosts. Hosts that still run end with the `async with` block."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def open_host(self) -> Host:
        """One more process; it may still be starting."""


class _Entry(NamedTuple):
    place: str
    needs: tuple[str, ...] = ()


PEERS = {
    OURS: _Entry("ours:MPKernel"),
    "mpkernel, standby": _Entry("ours:WithStandby"),
    "mpkernel, 8 processes": _Entry("ours:OnEight"),
    "mpkernel, cluster": _Entry("ours:OnCluster", ("distributed",)),
    "ZeroMQ": _Entry("zeromq:ZeroMQ", ("zmq",)),
    "mp.Queue": _Entry("queues:Queues"),
    "bare Pipes": _Entry("pipes:BarePipes"),
    "bare Pipes, our imports": _Entry("pipes:WithOurImports"),
    "bare threads": _Entry("bare_threads:BareThreads"),
    "bare threads, 8 processes": _Entry("bare_threads:BareThreadsOnEight"),
    "marimo's hosts": _Entry("marimo_hosts:MarimoHosts", ("marimo", "zmq")),
    "marimo's files": _Entry("ours:MPKernel", ("marimo",)),
    "copies alone": _Entry("memcpy:MemoryCopy"),
    "memcpy": _Entry("memcpy:MemoryCopy"),
}
"""The peers, by the name that the tables show."""


LOWER_BOUNDS = {
    "bare Pipes": OURS,
    "bare Pipes, our imports": OURS,
    "bare threads": OURS,
    "bare threads, 8 processes": "mpkernel, 8 processes",
    "copies alone": OURS,
    "memcpy": OURS,
}
"""The peers that do the same work with nothing around it, and whose lower bound each of them is."""


def missing(name: str) -> str | None:
    """The module that this peer needs and that is not installed; None when all are."""
    if name.startswith(ON_PYTHON):
        return None
    for module in PEERS[name].needs:
        if importlib.util.find_spec(module) is None:
            return module
    return None


def make(name: str) -> Peer:
    """A peer by its name."""
    if name.startswith(ON_PYTHON):
        from .ours import OnPython

        return OnPython(name.removeprefix(ON_PYTHON))
    module, _, kind = PEERS[name].place.partition(":")
    peer: Peer = getattr(importlib.import_module(f"{__name__}.{module}"), kind)()
    return peer
