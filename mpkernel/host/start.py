"""`start`: the first function of ours that runs in a host. It loads the host's modules in the way
that costs least, and runs `main`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from mpkernel.host.garbage import no_garbage_collection

__all__ = ["start"]


def start(
    control_fd: int,
    stream_fd: int,
    faults_fd: int,
    sentinel_fd: int,
    server_pid: int | None,
    descriptor_limit: int | None,
    folder_fd: int | None = None,
) -> NoReturn:
    """Run as an app host.

    Args:
        control_fd, stream_fd, faults_fd, sentinel_fd, server_pid, descriptor_limit, folder_fd: see
            `main.main`.
    """
    with no_garbage_collection():
        with _hidden("typing_extensions"):
            import msgspec  # noqa: F401
        from mpkernel.host.main import main
    main(control_fd, stream_fd, faults_fd, sentinel_fd, server_pid, descriptor_limit, folder_fd)


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Make imports of this module fail in this `with`, unless it is loaded already.

    msgspec asks `typing_extensions` for names that `typing` has, too, and takes them from there if
    it is not installed. They are the same objects, and to load them takes as long as msgspec.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
