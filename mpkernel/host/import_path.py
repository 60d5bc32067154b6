"""`put_first`: puts the folder of an app at the beginning of the import path.

It is called late: the modules of a kernel itself are imported before, as they are when Python or
marimo runs an app. Otherwise a file beside the app that is named like one of these modules
(`markdown.py`, `queue.py`) would be imported in its place. What a host loads only when it needs it
is loaded before, too, if a file in the folder is named like any module of the standard library.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading

__all__ = ["put_first"]

_LOADED_LATE = ("logging", "tempfile", "traceback", "mpkernel.host.storage")

_lock = threading.Lock()  # guards _put
_put: set[str] = set()


def put_first(folder: str) -> None:
    """Have modules of this folder imported before all others of their name, as in a script that
    lies there. Done once in a process: when user code removes the folder, it stays removed."""
    with _lock:
        if folder not in _put:
            if _holds_names_of_library(folder):
                for name in _LOADED_LATE:
                    importlib.import_module(name)
            _put.add(folder)
            sys.path.insert(0, folder)


def _holds_names_of_library(folder: str) -> bool:
    try:
        files = os.listdir(folder)
    except OSError:  # nothing can be imported from there either
        return False
    return any(file.partition(".")[0] in sys.stdlib_module_names for file in files)
