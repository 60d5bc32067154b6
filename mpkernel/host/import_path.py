"""`put_first`: the folder of an app at the head of the import path.

Not before it is needed: what a kernel itself is made of is imported first, as it is where Python or
marimo runs an app. A file beside the app that is named like one of these modules (`markdown.py`,
`queue.py`) would be imported in its place.
"""

from __future__ import annotations

import sys
import threading

__all__ = ["put_first"]

_lock = threading.Lock()  # guards _put
_put: set[str] = set()


def put_first(folder: str) -> None:
    """Have modules of this folder imported before all others of their name, as in a script that
    lies there. Once in a process, so that user code may take it out again."""
    with _lock:
        if folder not in _put:
            _put.add(folder)
            sys.path.insert(0, folder)
