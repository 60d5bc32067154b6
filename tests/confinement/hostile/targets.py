"""Where the victims are, and what an attempt came to."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import TypedDict


class Targets(TypedDict):
    """Where the victims are. `server` is a process; 0 stands for the one that started the app's."""

    server: int
    mounts: str
    secret: str
    folder: str
    path_socket: str
    abstract_socket: str
    tcp_port: int
    allowed_port: int
    block: str


def came_to(attempt: Callable[[Targets], object], targets: Targets) -> str:
    try:
        attempt(targets)
    except Exception as error:  # noqa: BLE001 (the test looks at it)
        return type(error).__name__
    return "done"


def unless(allowed: int, what: str) -> None:
    """Raise what a call was refused with, unless this error says that it would be allowed."""
    if ctypes.get_errno() != allowed:
        raise PermissionError(ctypes.get_errno(), what)


def in_a_fork(attempt: Callable[[Targets], object]) -> Callable[[Targets], object]:
    """For what changes the process itself."""

    def in_a_fork(targets: Targets) -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(came_to(attempt, targets) != "done")
        if os.waitpid(pid, 0)[1] != 0:
            raise PermissionError("refused to a fork")

    return in_a_fork
