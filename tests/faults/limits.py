"""Lowers the limits of a running process for a while, and looks at what it does meanwhile."""

from __future__ import annotations

import itertools
import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

_STANDARD = 3


@contextmanager
def limited(pid: int, what: int, soft: int) -> Iterator[None]:
    """A limit (`resource.RLIMIT_…`) of a process, and of what it starts, is so low meanwhile."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


@contextmanager
def starved(pid: int, spare: int = 0) -> Iterator[None]:
    """A process may open no more descriptors meanwhile; or about so many, those with the lowest
    free numbers: what it has open just for a moment counts as taken."""
    taken = set(map(int, os.listdir(f"/proc/{pid}/fd")))
    free = (number for number in itertools.count() if number not in taken)
    limit = next(itertools.islice(free, spare, None)) if spare else _STANDARD
    with limited(pid, resource.RLIMIT_NOFILE, limit):
        yield


def cpu_share(pid: int, during_s: float = 1.0) -> float:
    """What a process takes of a processor, from now on for so long; not what it started takes."""
    process = psutil.Process(pid)
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    threading.Event().wait(during_s)
    return float((sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began))
