"""The temporary folder of a confined process, which is its home, too, and the variables that lead
programs and libraries there."""

from __future__ import annotations

import os
import site
import sys

__all__ = ["move_in"]

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


def move_in(home: str) -> None:
    """Have this process, and what it starts, use this folder, which exists.

    Raises:
        OSError: the folder cannot be used.
    """
    if site.ENABLE_USER_SITE:
        os.environ.setdefault("PYTHONUSERBASE", site.getuserbase())  # was found by means of HOME
    for variable, name in _NAMED.items():
        folder = os.path.join(home, name) if name else home
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.environ[variable] = folder
    for variable in ("TEMP", "TMP"):
        os.environ.pop(variable, None)
    if "tempfile" in sys.modules:
        import tempfile

        tempfile.tempdir = None  # it is found again when it is needed
