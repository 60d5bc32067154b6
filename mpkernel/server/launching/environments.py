"""`environment_for`: which of the server's environment variables an app's process gets.

    what every process needs ─▶ kept        PATH, HOME, LANG, XDG_*, PYTHON* …
    the server's own secrets ─▶ left out
    env_deny matches         ─▶ left out
    env_allow matches        ─▶ kept        if env_allow is None: all the rest

The environment is made before the process is executed. So what was left out is not in the process's
`/proc/PID/environ` either, nor in that of anything that it starts.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable

from mpkernel.settings import Settings

__all__ = ["KEPT", "LEFT_OUT", "environment_for"]

KEPT = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "XDG_*",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "PYTHON*",
)
"""The variables that a process always gets, whatever the settings say. Without them, it would find
other programs, other modules or other folders than its server."""

LEFT_OUT = ("MARIMO_SESSION_SECRET",)
"""The variables that a process never gets. With them, an app could sign in to its server as any
user."""


def environment_for(settings: Settings) -> dict[str, str]:
    """The environment of a process of an app with these settings, made from the server's own."""
    kept = _any_of(KEPT)
    denied = _any_of((*LEFT_OUT, *settings.env_deny))
    allowed = _any_of(("*",) if settings.env_allow is None else settings.env_allow)
    return {
        name: value
        for name, value in os.environ.items()
        if kept.match(name) or (allowed.match(name) and not denied.match(name))
    }


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """A regular expression that matches the names that one of the globs matches."""
    return re.compile("|".join(map(fnmatch.translate, patterns)) or "(?!)")
