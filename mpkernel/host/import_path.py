"""`put_first`: puts the folder of an app at the beginning of the import path.

It is called late: the modules of a kernel itself are imported before, as they are when Python or
marimo runs an app. Otherwise a file beside the app that is named like one of these modules
(`markdown.py`, `queue.py`) would be imported in its place.
"""

from __future__ import annotations

import sys
import threading

__all__ = ["put_first"]

_lock = threading.Lock()  # guards _put
_put: set[str] = set()


def put_first(folder: str) -> None:
    """Have modules of this folder imported before all others of their name, as in a script that
    lies there. Done once in a process: when user code removes the folder, it stays removed."""
    with _lock:
        if folder not in _put:
            _put.add(folder)
            sys.path.insert(0, folder)
