"""The machine and the versions that the figures were measured with, and a load beside them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import multiprocessing
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import psutil

__all__ = ["HARDWARE", "described", "loaded"]

HARDWARE = ("cpu", "memory")
"""What two descriptions of the same machine have in common."""

_PACKAGES = ("mpkernel", "marimo", "pyzmq", "msgspec", "uvloop", "psutil")
_LIMITS = ("net.core.wmem_max", "fs.pipe-max-size")


def described() -> dict[str, str]:
    """The machine, the versions and the limits that matter, in words."""
    found = {
        "cpu": f"{os.cpu_count()} x {_cpu_model()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    if found["pyzmq"] != "not installed":
        import zmq

        found["libzmq"] = zmq.zmq_version()
    for limit in _LIMITS:
        path = Path("/proc/sys", *limit.split("."))
        if path.exists():
            found[limit] = path.read_text().strip()
    return found


@contextlib.contextmanager
def loaded() -> Iterator[None]:
    """A process that keeps one processor busy, until the block ends."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_compute, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _compute() -> None:
    while os.getppid() != 1:
        sum(range(100_000))


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
