"""Has `lenient_main` run first in processes that a session's code starts by spawn or forkserver."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from multiprocessing import spawn
from typing import Any

__all__ = ["install_spawning"]

_LENIENT_MAIN = "lenient_main.py"
_FORKSERVER = "multiprocessing.forkserver"
"""Asks what a fork server shall import before it forks. It imports no app: each process that it
forks runs the app by itself, as far as `lenient_main` lets it."""


class _ExecutedWhenUnpickled:
    """Source code; the process that unpickles this object executes it."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __reduce__(self) -> Any:
        return exec, (self._source, {"__name__": _LENIENT_MAIN.removesuffix(".py")})


def install_spawning(is_in_session: Callable[[], bool]) -> None:
    """Have processes that are started while `is_in_session()` is true run the app's file only up to
    where it starts processes. To be called once."""
    plain = spawn.get_preparation_data
    with open(os.path.join(os.path.dirname(__file__), _LENIENT_MAIN), encoding="utf-8") as file:
        lenient_main = file.read()

    @functools.wraps(plain)
    def get_preparation_data(name: str) -> dict[str, Any]:
        data = plain(name)
        if not is_in_session():
            return data
        if sys._getframe(1).f_globals["__name__"] == _FORKSERVER:
            data.pop("init_main_from_path", None)
        elif "init_main_from_path" in data:
            # Unknown keys are ignored. This one takes effect when it is unpickled.
            data["mpkernel"] = _ExecutedWhenUnpickled(lenient_main)
        return data

    changed: Any = spawn
    changed.get_preparation_data = get_preparation_data
