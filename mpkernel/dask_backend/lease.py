"""What runs in a worker of Dask: the lease of a host, and what its claim starts.

    scheduler ─▶ hold      a task that lasts as long as the host. So the scheduler chooses the
                  │        worker, counts the host, and makes an adaptive cluster grow for it
                  ▼
    server ◀─ "here" ─     an event with the ticket and the worker's address
    server ── claim ─────▶ the server's own connections to the worker. They are handed to an outpost

A lease that nobody claims ends by itself: so a task that the scheduler starts again, after the end
of its worker, starts nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import logging
import platform
import socket
import subprocess
import threading
from importlib import metadata
from typing import Any

import msgspec
from distributed.comm.tcp import TCP
from distributed.core import Status
from distributed.worker import get_worker

from mpkernel.aio.tasks import supervised_task
from mpkernel.aio.threads import off_the_loop
from mpkernel.dask_backend.kept_archives import KEPT_S, KeptArchives, folder_of_worker
from mpkernel.dask_backend.outpost import GO_ON
from mpkernel.dask_backend.pumping import pump
from mpkernel.errors import ClusterError
from mpkernel.program import MainProgram
from mpkernel.server.launching.launch import launch
from mpkernel.server.supervision.strays import end_strays_of_dead_servers
from mpkernel.version import __version__
from shm import sweep

__all__ = ["HANDLER", "PROTOCOL", "ROLES", "check_versions", "hold", "versions"]

logger = logging.getLogger(__name__)

HANDLER = "mpkernel-claim"
"""The name of the worker's handler that takes claims."""

PROTOCOL = 4
"""The number of the protocol between server and outpost: one more with each change that an older
one would not understand."""

ROLES = ("news", "control", "stream")
"""What the connections of a host are for: `connection`, and its two Pipes."""

_CLAIMED_WITHIN_S = 30.0
_SILENCE_S = 15.0
_KILLED_WITHIN_S = 5.0
_OUTPOST = "mpkernel.dask_backend.outpost:main"

_leases: dict[str, _Lease] = {}


def versions() -> dict[str, str]:
    """The versions that must be the same on a server and on a worker; "none" for a package that is
    missing."""
    try:
        marimo = metadata.version("marimo")
    except metadata.PackageNotFoundError:
        marimo = "none"
    return {
        "marimo": marimo,
        "protocol": str(PROTOCOL),
        "mpkernel": __version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "msgspec": msgspec.__version__,
    }


def check_versions(address: str, found: object) -> None:
    """Check that a worker has the versions that the server has.

    Raises:
        ClusterError: a version differs.
    """
    own = versions()
    if own["marimo"] == "none":  # no app needs what the server does not have
        del own["marimo"]
    has = found if isinstance(found, dict) else {}
    differing = [name for name in own if has.get(name) != own[name]]
    if differing:
        said = ", ".join(
            f"{name} {str(has.get(name))[:20]} (the server has {own[name]})" for name in differing
        )
        raise ClusterError(
            f"the worker {address} cannot run the server's apps: it has {said}",
            remedy="install the server's versions on it",
        )


async def hold(ticket: str, topic: str) -> None:
    """The task: offer this worker to the server that has the ticket, and last as long as the host.

    Args:
        ticket: a secret of the server and this task.
        topic: the server's, for events.
    """
    worker = get_worker()
    worker.handlers.setdefault(HANDLER, claim)
    _begin()
    lease = _leases[ticket] = _Lease()
    worker.log_event(topic, {"ticket": ticket, "address": worker.address, "versions": versions()})
    try:
        async with asyncio.timeout(_CLAIMED_WITHIN_S):
            await lease.claimed.wait()
        await lease.outpost_ended()
    except TimeoutError:
        logger.info("nobody has claimed this lease of an app within %g s", _CLAIMED_WITHIN_S)
    except asyncio.CancelledError:  # the worker closes
        if worker.batched_stream is None or worker.batched_stream.closed():
            lease.let_go()
        raise
    finally:
        _leases.pop(ticket, None)
        lease.close()
        asyncio.get_running_loop().call_later(KEPT_S + 1, _remove_unused)


async def claim(comm: TCP, ticket: str, role: str) -> Any:
    """The handler: hand the connection to an outpost. It is called for three connections, one for
    each role.

    Args:
        comm: the connection.
        ticket: which lease is claimed.
        role: what the connection is for.
    """
    lease = _leases.get(ticket)
    if lease is None or role not in ROLES or not lease.takes(role):
        return {"error": "there is no such lease, or it was claimed before"}
    await comm.write({"claimed": True})
    stream = comm.stream
    if type(comm) is TCP:
        # The outpost has the connection itself: what it sends does not pass through this process.
        lease.connected(role, stream.socket.dup())
    else:
        ours, theirs = socket.socketpair()
        lease.connected(role, theirs)
        await pump(stream, ours)
    comm.abort()
    return Status.dont_reply


class _Lease:
    """One lease. On the worker's loop.

    Attributes:
        claimed: set when a server has claimed it.
    """

    def __init__(self) -> None:
        self.claimed = asyncio.Event()
        self._roles = set(ROLES)  # roles for which no connection has come yet
        self._connections: dict[str, socket.socket] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)

    def takes(self, role: str) -> bool:
        """Whether a connection for this role may come. To be asked once for each role."""
        if role not in self._roles:
            return False
        self._roles.remove(role)
        return True

    def connected(self, role: str, connection: socket.socket) -> None:
        """The connection for a role has come. With the last one, the outpost is started.

        Raises:
            OSError, HostStartError: it was refused.
        """
        self._connections[role] = connection
        if len(self._connections) < len(ROLES):
            return
        handed = [self._connections[name] for name in ROLES]
        numbers = [one.fileno() for one in (*handed, self._theirs)]
        try:
            self._child = launch(
                "mpkernel outpost",
                MainProgram(_OUTPOST, *numbers, folder_of_worker()),
                descriptors=tuple(numbers),
                stdio=(None, None, None),
            )
        finally:
            for one in (*handed, self._theirs):
                one.close()
            self.claimed.set()

    async def outpost_ended(self) -> None:
        """Wait for the outpost's end. If it stops saying that it lives, end it."""
        if self._child is None:
            return
        silences = 0
        while silences < 2:  # there is one also if this worker itself was stopped for a while
            try:
                async with asyncio.timeout(_SILENCE_S):
                    said = await asyncio.get_running_loop().sock_recv(self._ours, 4096)
            except TimeoutError:
                silences += 1
            except ConnectionError:
                break
            else:
                if not said:
                    break
                silences = 0
        else:
            logger.warning("outpost %d does not say that it lives, and is killed", self._child.pid)
        child = self._child
        child.kill()
        try:
            code = await off_the_loop(functools.partial(child.wait, timeout=_KILLED_WITHIN_S))
        except subprocess.TimeoutExpired:
            logger.warning("outpost %d was killed and does not end: it is left as it is", child.pid)
            return
        if code != 0:
            await off_the_loop(_clean_up)

    def let_go(self) -> None:
        """Let the outpost go on without this worker, if it has not ended."""
        with contextlib.suppress(OSError):
            self._ours.send(GO_ON)

    def close(self) -> None:
        """End the outpost, unless `let_go` was called. Idempotent."""
        for one in (self._ours, self._theirs, *self._connections.values()):
            one.close()


@functools.cache
def _begin() -> None:
    """This worker has its first lease: from now on its archives are removed when it ends. What dead
    workers left on this machine is removed now, on a thread of its own."""
    atexit.register(KeptArchives(folder_of_worker()).remove)
    threading.Thread(target=_clean_up, name="mpkernel-sweep", daemon=True).start()


def _remove_unused() -> None:
    kept = KeptArchives(folder_of_worker())
    supervised_task(off_the_loop(kept.remove_unused), name="mpkernel.archives")


def _clean_up() -> None:
    end_strays_of_dead_servers()
    sweep()
