"""The Python with which processes of apps are launched: the one that multiprocessing uses.

That is `sys.executable`, unless the server's program has called `multiprocessing.set_executable`.
If Python is embedded in another program (uWSGI, a plugin, a frozen application), `sys.executable`
may be empty, or may name that other program. To execute that would start this server once more, not
a Python. Then nothing is launched.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import sys
from multiprocessing import spawn

from mpkernel.errors import HostStartError, UnfitPython
from mpkernel.server.supervision.exit_status import ExitStatus

__all__ = ["interpreter", "never_ready", "other_start_error", "start_error", "unfit"]

_NAME_ANOTHER = (
    "have the server's program call multiprocessing.set_executable with a Python that has mpkernel"
)

_NOT_EXECUTED = frozenset({errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.ENOEXEC, errno.ELOOP})

_PYTHON = re.compile(r"python|pypy", re.IGNORECASE)


def interpreter() -> str:
    """The path, or the name, of the Python to launch. This does not check whether the user may
    execute it, because `os.access` does not know all kinds of rights: `start_error` explains a
    refusal.

    Raises:
        HostStartError: no Python is known, or the program that is named is not a Python.
    """
    given = spawn.get_executable()
    if not given:
        raise HostStartError(
            "this server knows no Python to launch: sys.executable was"
            f" {'None' if given is None else 'empty'} when multiprocessing was imported",
            remedy=_NAME_ANOTHER,
        )
    name = os.fsdecode(given)
    if name == sys.executable and _embeds_python(shutil.which(name) or name):
        raise HostStartError(
            f"sys.executable is {name}: the program in which this server's Python is embedded, and"
            " not a Python itself",
            remedy=_NAME_ANOTHER,
        )
    return name


def start_error(name: str, error: OSError) -> HostStartError:
    """The error to raise when the operating system refused to launch a process.

    Args:
        name: what should have run in it.
        error: the refusal. If a file could not be executed, it names the file.
    """
    if error.errno in _NOT_EXECUTED and error.filename not in (None, os.devnull):
        return HostStartError(
            f"no process could be launched for {name}: {os.fsdecode(error.filename)} should be"
            f" executed as Python ({error.strerror})",
            remedy=_NAME_ANOTHER,
        )
    if error.errno == errno.EMFILE:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return HostStartError(
            f"no process could be launched for {name}: {error}; this server may have {limit}"
            " descriptors",
            remedy="raise its limit (ulimit -n), or serve fewer apps",
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return HostStartError(
            f"no process could be launched for {name}: {error}", remedy="make room there"
        )
    return HostStartError(
        f"no process could be launched for {name}: {error}",
        remedy="look at the limits on processes, memory and descriptors of this user",
    )


def other_start_error(name: str, error: OSError, python: str) -> HostStartError:
    """As `start_error`, for a process with another Python than the server's.

    Args:
        name: what should have run in it.
        error: the refusal.
        python: the program that was named.
    """
    if error.errno in _NOT_EXECUTED and error.filename not in (None, os.devnull):
        return UnfitPython(
            f"{python} cannot be executed for {name} ({error.strerror})",
            remedy="name a Python's program, or the folder of a virtual environment",
        )
    return start_error(name, error)


def unfit(name: str, status: ExitStatus, python: str) -> UnfitPython:
    """The error for a process that was launched with another Python than the server's, and ended
    before it said which one.

    Args:
        name: what should have run in it.
        status: how it ended.
        python: what was launched.
    """
    return UnfitPython(
        f"{python} was launched for {name}, and {status} before it said which Python it is",
        remedy="look at its last output; name a Python's program, or the folder of a virtual"
        " environment, or a wrapper that hands its arguments on to one",
    )


def never_ready(name: str, status: ExitStatus, python: str) -> HostStartError | None:
    """The error for a process that ended before it was ready. None if it was killed: then the
    program that was launched is not to blame.

    Args:
        name: what should have run in it.
        status: how it ended.
        python: what was launched.
    """
    if status.code is None or status.code < 0:
        return None
    return HostStartError(
        f"the process of {name} {status} before it was ready; it was launched as {python}",
        remedy=f"look at its last output, and if that program is wrong, {_NAME_ANOTHER}",
    )


def _embeds_python(path: str) -> bool:
    """Whether this code runs in another program that has a Python embedded (uWSGI, mod_wsgi).

    A Python knows the command line with which it was started (`sys.orig_argv`). A program that
    embeds one has none there, but may still name a real Python in `sys.executable`, as mod_wsgi
    does.
    """
    if getattr(sys, "frozen", False):
        return True
    if sys.orig_argv:
        return False
    names = os.path.basename(path), os.path.basename(os.path.realpath(path))
    return not any(_PYTHON.search(name) for name in names)
