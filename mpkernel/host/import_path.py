"""`put_first`: puts the folder of an app at the beginning of the import path.

It is called late: the kernel's own modules are imported before, as they are when Python or marimo
runs an app. Otherwise a file beside the app with the name of one of these modules (`markdown.py`,
`queue.py`) would be imported in its place. If the folder has a file with the name of any module of
the standard library, the host also loads, before, the modules that it normally loads only when it
needs them.
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
    except OSError:  # the folder cannot be read: nothing can be imported from it
        return False
    return any(file.partition(".")[0] in sys.stdlib_module_names for file in files)
