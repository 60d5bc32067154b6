"""`misfit`: whether a process that runs another Python than the server fits the server.

Commands to marimo's kernels are marimo's own objects, which another version of marimo may not
understand. So a package that is required in one version must be there in this version.
"""

from __future__ import annotations

import importlib.metadata
import re

from mpkernel.errors import UnfitPython
from mpkernel.version import __version__
from mpkernel.wire.before_host import PROTOCOL, Hello

__all__ = ["misfit", "name_in"]

_LEAST_MSGSPEC = (0, 19)
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*(?:(==|@)\s*([^\s,;]+)\s*$)?")


def name_in(requirement: str) -> str:
    """The name of the package in a requirement (PEP 508)."""
    return _parts(requirement)[0]


def misfit(hello: Hello, python: str, requirements: tuple[str, ...]) -> UnfitPython | None:
    """The error that says why the process does not fit the server; None if it fits.

    Args:
        hello: what the process says about itself.
        python: the path of its Python.
        requirements: what must be installed there.
    """
    if (hello.protocol, hello.mpkernel) != (PROTOCOL, __version__):
        return UnfitPython(
            f"this server runs mpkernel {__version__}, but its files on the disk are now those of"
            f" {hello.mpkernel[:50]}",
            remedy="restart the server",
        )
    if _numbers(hello.msgspec) < _LEAST_MSGSPEC:
        least = ".".join(map(str, _LEAST_MSGSPEC))
        return UnfitPython(
            f"{python} has msgspec {hello.msgspec[:50]}, and mpkernel needs {least} or later",
            remedy=_installing(f"msgspec>={least}", python),
        )
    for requirement in requirements:
        name, needed = _parts(requirement)
        found = hello.packages.get(name)
        if found is None or needed not in (None, found):
            has = f"has {name} {found[:50]}" if found is not None else f"has no {name}"
            needs = f"the server has {name} {needed}" if needed else f"the app needs {name}"
            return UnfitPython(
                f"{needs}, {python} {has}",
                remedy=_installing(f"{name}=={needed}" if needed else requirement, python),
            )
    return None


def _parts(requirement: str) -> tuple[str, str | None]:
    """The name, and the version that it must have. A package that came from a URL must have the
    version that is installed here."""
    found = _REQUIREMENT.match(requirement)
    if found is None:
        return requirement, None
    name, sign, version = found.groups()
    if sign != "@":
        return name, version
    try:
        return name, importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return name, None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _installing(requirement: str, python: str) -> str:
    return f"install '{requirement}' there: {python} -m pip install '{requirement}'"
