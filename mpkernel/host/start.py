"""`start`: the first function of ours that runs in a host. It loads the host's modules in the way
that costs least, and runs `main`.
"""

from __future__ import annotations

from typing import NoReturn

from mpkernel.quick_imports import quick_imports

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
    with quick_imports():
        from mpkernel.host.main import main
    main(control_fd, stream_fd, faults_fd, sentinel_fd, server_pid, descriptor_limit, folder_fd)
