"""A scheduler and workers as an operator starts them. Each worker has shared memory and temporary
files of its own, as on another machine."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator

import psutil
from shared_children import SHARED

__all__ = ["TEMPORARY", "Machines", "machines"]

TEMPORARY = tempfile.gettempdir()
"""Where the tests have temporary files, and each worker its own ones, under the same path."""

_APART = f"""
mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs tmpfs {shlex.quote(TEMPORARY)} && exec "$@"
"""
_PATIENCE_S = 60


class Machines:
    """Processes of a cluster.

    Attributes:
        address: the scheduler's.
        nannies: the process of each worker's nanny; its only child is the worker.
    """

    def __init__(self, stack: contextlib.ExitStack, workers: int) -> None:
        self._stack = stack
        self.scheduler, said = self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
        self.address = said
        self.nannies = [self.add_worker() for _ in range(workers)]

    def add_worker(self, *options: str) -> psutil.Process:
        """Start one more worker. Returns its nanny."""
        nanny, _ = self._start(
            "worker", self.address, "--host", "127.0.0.1", "--nthreads", "50", *options
        )
        return nanny

    def restart_scheduler(self) -> None:
        """Start another scheduler at the address of the one that has ended."""
        port = self.address.rpartition(":")[2]
        self.scheduler, _ = self._start("scheduler", "--host", "127.0.0.1", "--port", port)

    def _start(self, what: str, *options: str) -> tuple[psutil.Process, str]:
        apart = (
            ("unshare", "--mount", "--ipc", "sh", "-c", _APART, "sh") if what == "worker" else ()
        )
        program = (sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard")
        child = subprocess.Popen(
            [*apart, *program, *options], stderr=subprocess.PIPE, text=True, start_new_session=True
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
def machines(workers: int = 2) -> Iterator[Machines]:
    """A cluster of so many machines."""
    with contextlib.ExitStack() as stack:
        yield Machines(stack, workers)


def _end(child: subprocess.Popen[str]) -> None:
    """End it and all that it started."""
    try:
        below = psutil.Process(child.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    child.terminate()
    try:
        child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
    for one in psutil.wait_procs(below, timeout=10)[1]:
        os.kill(one.pid, 9)
