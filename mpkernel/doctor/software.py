"""The checks of what is installed, and of how it is set."""

from __future__ import annotations

from mpkernel.doctor.facts import Facts
from mpkernel.doctor.lines import Line, fail, ok, warn

__all__ = [
    "interpreter_line",
    "libzmq_line",
    "marimo_line",
    "packages_line",
    "python_line",
    "settings_line",
    "start_method_line",
    "uvloop_line",
]

_FIRST_PYTHON = (3, 11)
_FIRST_UNTESTED_PYTHON = (3, 16)


def python_line(facts: Facts) -> Line:
    software = facts.software
    version = ".".join(map(str, software.python))
    says = f"{software.implementation} {version} on {software.platform}"
    if software.python[:2] < _FIRST_PYTHON or software.platform == "win32":
        return fail("python", says, "use Python 3.11 or later, on Linux")
    if software.python[:2] >= _FIRST_UNTESTED_PYTHON or software.implementation != "CPython":
        return warn("python", says, "mpkernel is tested with CPython 3.11 to 3.15")
    if software.platform != "linux":
        return warn("python", says, "mpkernel is tested on Linux only")
    return ok("python", says)


def interpreter_line(facts: Facts) -> Line:
    software = facts.software
    if software.interpreter_error is not None:
        return fail("interpreter", software.interpreter_error, "no app can be started without one")
    return ok("interpreter", f"apps run with {software.interpreter}")


def packages_line(facts: Facts) -> Line:
    versions = facts.software.versions
    needed = ("mpkernel", "msgspec", "psutil")
    says = ", ".join(f"{name} {versions[name] or 'unknown'}" for name in needed)
    missing = [name for name in needed if versions[name] is None]
    if missing:
        what = f"{' and '.join(missing)}: imported, but not as an installed package"
        return warn("packages", f"{says}; {what}", "pip install mpkernel in this environment")
    return ok("packages", says)


def settings_line(error: str | None) -> Line:
    """The line about the settings.

    Args:
        error: what is wrong with them; None when nothing is.
    """
    if error is not None:
        return fail("settings", error, "correct it: a server in this folder refuses to start")
    return ok("settings", "are valid (`mpkernel settings` shows them)")


def start_method_line(facts: Facts) -> Line:
    methods = facts.software.start_methods
    if "spawn" not in methods:
        return fail(
            "start method",
            f"multiprocessing has no spawn here, only {', '.join(methods)}",
            "use a Python that has it",
        )
    return ok("start method", "spawn, which leaves your own choice in apps alone")


def uvloop_line(facts: Facts) -> Line:
    software = facts.software
    if software.uvloop_error is not None:
        return ok("uvloop", f"is not here ({software.uvloop_error}): asyncio's loop, which is fine")
    return ok("uvloop", f"{software.versions['uvloop'] or 'of unknown version'}")


def libzmq_line(facts: Facts) -> Line:
    version = facts.software.versions["pyzmq"]
    found = f"pyzmq {version} is here" if version else "is not here"
    return ok("libzmq", f"is not needed; {found}")


def marimo_line(facts: Facts) -> Line:
    version, error = facts.software.versions["marimo"], facts.software.marimo_error
    if version is None:
        return warn(
            "marimo",
            "is not installed: apps of your own work, `mpkernel run` does not",
            "pip install 'mpkernel[marimo]', if you want to serve notebooks",
        )
    if error is not None:
        return fail("marimo", error, "install one that is supported")
    if facts.software.marimo_is_tried:
        return warn(
            "marimo",
            f"{version}, which is not supported; it is tried because of MPKERNEL_ALLOW_ANY_MARIMO",
            "install one that is supported",
        )
    return ok("marimo", f"{version}, which is supported")
