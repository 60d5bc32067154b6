"""The copy of an app's folder from which a process on another machine runs its app.

Whoever starts such a process says where the copy is in the variable `APP_COPY`. The process takes
the variable away before any code of the app runs: what the app starts runs no copy.
"""

from __future__ import annotations

import os

__all__ = ["APP_COPY", "path_here", "take_from_environment"]

APP_COPY = "MPKERNEL_APP_COPY"
"""The name of the variable: the path of the app's file in its copy."""

_copy: str | None = None


def take_from_environment() -> None:
    """Look whether this process runs a copy. Called once, at its beginning."""
    global _copy
    _copy = os.environ.pop(APP_COPY, None)


def path_here(app: str) -> str:
    """The path of the app's file in this process.

    Args:
        app: its path at the server.
    """
    return app if _copy is None else _copy
