"""An app that is named on the command line: by the path of its file, or by its name alone."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable
from typing import TypeVar

from mpkernel.plain_text import plain

__all__ = ["as_argument", "of_app"]

T = TypeVar("T")


def of_app(named: str, found: Iterable[T], path_of: Callable[[T], str]) -> list[T]:
    """Those of what was found that belong to the app of this path, or else to apps of this name.

    Args:
        named: what the user has written. A relative path begins at the current folder.
        found: what belongs to apps.
        path_of: the absolute path of the app to which one of them belongs.
    """
    everything = list(found)
    path = os.path.abspath(named)
    return [one for one in everything if path_of(one) == path] or [
        one for one in everything if os.path.basename(path_of(one)) == named
    ]


def as_argument(name: str) -> str:
    """An app's name as it is to be written on a command line that is shown."""
    return shlex.quote(plain(name))
