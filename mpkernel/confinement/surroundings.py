"""Changes in a confined process: its temporary folder, which is also its home; the variables that
lead programs and libraries there; and managers of `multiprocessing`, which listen where the process
may listen."""

from __future__ import annotations

import multiprocessing
import os
import site
import sys
from multiprocessing import context
from typing import TYPE_CHECKING

__all__ = ["move_in", "offer_managers", "own_cache"]

if TYPE_CHECKING:
    from multiprocessing.managers import SyncManager

_NAMED = {
    "HOME": "",
    "TMPDIR": "tmp",
    "XDG_CACHE_HOME": "cache",
    "XDG_CONFIG_HOME": "config",
    "XDG_DATA_HOME": "data",
    "XDG_STATE_HOME": "state",
    "XDG_RUNTIME_DIR": "run",
    "MPLCONFIGDIR": "matplotlib",
}

_has_moved = False


def own_cache() -> str | None:
    """The folder for caches of this process; None if it is not confined."""
    return os.environ["XDG_CACHE_HOME"] if _has_moved else None


def move_in(home: str) -> None:
    """Have this process, and what it starts, use this folder, which exists.

    Raises:
        OSError: the folder cannot be used.
    """
    global _has_moved
    _has_moved = True
    if site.ENABLE_USER_SITE:
        os.environ.setdefault("PYTHONUSERBASE", site.getuserbase())  # it was found by means of HOME
    for variable, name in _NAMED.items():
        folder = os.path.join(home, name) if name else home
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.environ[variable] = folder
    for variable in ("TEMP", "TMP"):
        os.environ.pop(variable, None)
    if "tempfile" in sys.modules:
        import tempfile

        tempfile.tempdir = None  # it is computed again when it is needed


def offer_managers() -> None:
    """Have `multiprocessing.Manager()` listen by TCP, on this machine alone: a confined process has
    no Unix sockets. Whoever connects must know the process's key."""
    context.BaseContext.Manager = _manager  # type: ignore[method-assign]
    multiprocessing.Manager = context._default_context.Manager


def _manager(self: context.BaseContext) -> SyncManager:
    from multiprocessing.managers import SyncManager  # imported here, as `multiprocessing` does it

    manager = SyncManager(("127.0.0.1", 0), ctx=self.get_context())
    manager.start()
    return manager
