"""A scheduler and workers as an operator starts them. Each worker has shared memory and temporary
files of its own, as on another machine."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import psutil
from dask_backend.networks import Machine, Network
from descendants import command_of, has_ended
from distributed import Client
from shared_children import SHARED
from waiting import PATIENCE_S

__all__ = [
    "TEMPORARY",
    "Machines",
    "client_of",
    "left_on",
    "machines",
    "outposts_of",
]

TEMPORARY = tempfile.gettempdir()
"""Where the tests have temporary files, and each worker its own ones, under the same path."""

_APART = f"""
size=$1 && shift
mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs -o size=$size tmpfs {shlex.quote(TEMPORARY)} &&
exec "$@"
"""


class Machines:
    """Processes of a cluster.

    Attributes:
        address: the scheduler's.
        nannies: the process of each worker's nanny; its only child is the worker.
    """

    def __init__(
        self,
        stack: contextlib.ExitStack,
        workers: int,
        network: Network | None,
        options: Sequence[str],
    ) -> None:
        self._stack = stack
        self._options = options
        # The scheduler has the first machine of a network, and each worker one of the others.
        here = itertools.repeat(Machine("127.0.0.1"))
        self._machines = iter(network.machines) if network is not None else here
        self._of_scheduler = next(self._machines)
        self.scheduler, said = self._start("scheduler", self._of_scheduler, "--port", "0")
        self.address = said
        self.nannies = [self.add_worker() for _ in range(workers)]

    def add_worker(
        self, *options: str, temporary_bytes: int = 2**30, before: Sequence[str] = ()
    ) -> psutil.Process:
        """Start one more worker. Returns its nanny.

        Args:
            options: of `dask worker`.
            temporary_bytes: how much room its machine has for temporary files.
            before: a command of its machine that executes what follows it, which is the worker.
        """
        nanny, _ = self._start(
            "worker",
            next(self._machines),
            self.address,
            "--nthreads",
            "50",
            *options,
            before=(*_apart(temporary_bytes), *before),
        )
        return nanny

    def restart_scheduler(self) -> None:
        """Start another scheduler at the address of the one that has ended."""
        port = self.address.rpartition(":")[2]
        self.scheduler, _ = self._start("scheduler", self._of_scheduler, "--port", port)

    def _start(
        self, what: str, at: Machine, *options: str, before: Sequence[str] = ()
    ) -> tuple[psutil.Process, str]:
        program = (sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard")
        child = subprocess.Popen(
            [*at.inside, *before, *program, "--host", at.address, *self._options, *options],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._stack.callback(_end, child)
        assert child.stderr is not None
        for line in child.stderr:
            found = re.search(r"(?:Scheduler at:|Registered to:)\s+(\S+)", line)
            if found is not None:
                break
        else:
            raise AssertionError(f"the {what} does not start")
        threading.Thread(target=child.stderr.read, daemon=True).start()
        process = psutil.Process(child.pid)
        SHARED.update([process, *process.children(recursive=True)])
        return process, found[1]


@contextlib.contextmanager
def machines(
    workers: int = 2, network: Network | None = None, options: Sequence[str] = ()
) -> Iterator[Machines]:
    """A cluster of so many machines; in a network, its scheduler has the first machine there.

    Args:
        workers: how many.
        network: where. Default: on this machine's loopback.
        options: of the scheduler and of each worker.
    """
    with contextlib.ExitStack() as stack:
        yield Machines(stack, workers, network, options)


def outposts_of(nanny: psutil.Process) -> list[psutil.Process]:
    """The processes by which this nanny's worker watches processes of apps."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):  # a worker ends meanwhile
        for worker in nanny.children():
            found += [one for one in worker.children() if "spawn_main" in command_of(one)]
    return found


def left_on(nannies: Sequence[psutil.Process]) -> list[object]:
    """What apps have left on the machines of these: processes, blocks, temporary files."""
    found: list[object] = []
    for nanny in nannies:
        root = Path(f"/proc/{nanny.pid}/root")
        for pattern in ("dev/shm/mpk*", "dev/shm/psm_*", f"{TEMPORARY[1:]}/mpk*"):
            found += root.glob(pattern)
        found += outposts_of(nanny)
    return found


@contextlib.asynccontextmanager
async def client_of(cluster: Machines, workers: int = 2) -> AsyncIterator[Client]:
    """A client of a cluster that tests share: workers that an earlier test has ended are replaced,
    and those that live after the block may live on.

    Args:
        cluster: which one.
        workers: how many it shall have.
    """
    async with Client(cluster.address, asynchronous=True, set_as_default=False) as client:
        cluster.nannies = [one for one in cluster.nannies if not has_ended(one)]
        while len(cluster.nannies) < workers:
            cluster.nannies.append(await asyncio.to_thread(cluster.add_worker))
        await client.wait_for_workers(workers, timeout=PATIENCE_S)
        yield client
        cluster.nannies = [one for one in cluster.nannies if not has_ended(one)]
        for nanny in cluster.nannies:  # which may have started another worker
            SHARED.update(nanny.children())


def _apart(temporary_bytes: int) -> tuple[str, ...]:
    """A command that executes what follows it as on another machine."""
    return ("unshare", "--mount", "--ipc", "sh", "-c", _APART, "sh", str(temporary_bytes))


def _end(child: subprocess.Popen[str]) -> None:
    """End it and all that it started."""
    try:
        below = psutil.Process(child.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    child.terminate()
    try:
        child.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
    for one in psutil.wait_procs(below, timeout=10)[1]:
        os.kill(one.pid, 9)
