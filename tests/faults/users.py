"""Another user, for limits on the number of processes: they do not apply to the superuser."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_UID = 54_321


def as_somebody() -> tuple[str, ...]:
    """The beginning of a command that runs as a user without a name; who is none of the superuser
    stays who they are. Files are read and written as before."""
    if os.getuid() != 0:
        return ()
    return (
        *("setpriv", f"--reuid={_UID}", f"--regid={_UID}", "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"),
    )


def limit_processes(pid: int) -> None:
    """A process that this user runs gets neither processes nor threads any more."""
    _limit(pid, "--nproc=0:")


@contextmanager
def no_more_processes(pid: int) -> Iterator[None]:
    """The same, inside a `with`."""
    before = _limit(pid, "--output=SOFT", "--noheadings", "--raw", "--nproc").strip()
    limit_processes(pid)
    try:
        yield
    finally:
        _limit(pid, f"--nproc={before}:")


def _limit(pid: int, *options: str) -> str:
    command = [*as_somebody(), "prlimit", f"--pid={pid}", *options]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
