"""`link_compiled`: what Python has compiled once is not compiled again for each environment.

uv links the files of a package from its cache: environments that have the same version of a package
have the same files. What Python compiled of such a file is valid in each of them. Without it, the
first process of an app would compile a thousand files of marimo and of what marimo needs, which
takes seconds. Where uv copies files, as between two file systems, no file is in two environments,
and nothing is linked.

Python and uv never write into a compiled file that is there: they put a new file in its place. So
no environment changes what another one has.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["link_compiled"]

logger = logging.getLogger(__name__)

_CACHE = "__pycache__"
_NAMES = ("site-packages", "dist-packages")
"""Of folders with packages; the latter is Debian's."""


def link_compiled(environment: Path, others: Iterable[Path]) -> None:
    """Link what was compiled of the files that an environment shares with others, or with the
    server's own Python. Nothing depends on it: what is not linked is compiled when it is imported.

    Args:
        environment: its folder.
        others: the folders of other environments.
    """
    of_others = (place for other in others for place in _packages(other))
    of_server = (Path(place) for place in sys.path if os.path.basename(place) in _NAMES)
    places = dict.fromkeys([*of_others, *of_server])
    for packages in _packages(environment):
        for place in places:
            # The folder above has the name of the version of Python, such as python3.11.
            if place.parent.name == packages.parent.name:
                _link_all(packages, place)


def _packages(environment: Path) -> list[Path]:
    return sorted(environment.glob("lib/*/site-packages"))


def _link_all(packages: Path, other: Path) -> None:
    for folder, folders, _ in os.walk(packages):
        if _CACHE in folders:
            folders.remove(_CACHE)
        there = os.path.join(other, os.path.relpath(folder, packages))
        try:
            _link_in(folder, there)
        except FileNotFoundError:  # nothing was compiled there, or it is being removed
            continue
        except OSError as error:
            logger.debug("compiled files of %s cannot be linked: %s", there, error)
            return


def _link_in(folder: str, there: str) -> None:
    for name in os.listdir(os.path.join(there, _CACHE)):
        module, _, ending = name.partition(".")
        if not ending.endswith("pyc"):
            continue  # a file that a process is writing
        source = os.path.join(folder, f"{module}.py")
        compiled = os.path.join(folder, _CACHE, name)
        if os.path.lexists(compiled) or not os.path.exists(source):
            continue
        if os.path.samefile(source, os.path.join(there, f"{module}.py")):
            os.makedirs(os.path.dirname(compiled), exist_ok=True)
            os.link(os.path.join(there, _CACHE, name), compiled)
