"""`Abilities`: what a machine has that only some apps need, for this machine and for the workers of
a cluster; and the lines about it.

A machine that lacks it runs all other apps: that is a note, unless the settings ask for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from mpkernel.aio.threads import off_the_loop
from mpkernel.confinement.confining import Missing, missing
from mpkernel.confinement.landlock import version
from mpkernel.doctor.lines import Line, fail, ok, warn
from mpkernel.errors import HostStartError
from mpkernel.sandboxes.uv import find_uv, version_of_uv
from mpkernel.server.launching.interpreter import interpreter
from mpkernel.settings import Settings

__all__ = [
    "Abilities",
    "Wanted",
    "abilities",
    "abilities_of_worker",
    "confinement_line",
    "uv_line",
    "wanted_by",
]

_PATIENCE_S = 10.0
_GET_UV = "pip install 'mpkernel[sandbox]', or put uv on the PATH"


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine has.

    Attributes:
        uv: the path of uv, which makes environments of apps; None where there is none.
        uv_version: what uv says of itself; None where it does not run.
        landlock: the version of Landlock in its kernel; 0 for none.
        lacking: what its kernel lacks for confinement.
        own_memory: whether a confined process can have a `/dev/shm` of its own.
    """

    uv: str | None = None
    uv_version: str | None = None
    landlock: int = 0
    lacking: Missing
    own_memory: bool = False


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings ask of a machine.

    Attributes:
        sandbox: whether they ask for environments.
        confine: the most that they ask for; see the setting.
    """

    sandbox: bool = False
    confine: Literal["off", "files", "strict"] = "off"


def wanted_by(settings: Iterable[Settings]) -> Wanted:
    """What some settings ask for together."""
    sandbox, levels = False, {"off"}
    for one in settings:
        sandbox |= one.sandbox
        levels.add(one.confine)
    if "strict" in levels:
        return Wanted(sandbox=sandbox, confine="strict")
    return Wanted(sandbox=sandbox, confine="files" if "files" in levels else "off")


def abilities() -> Abilities:
    """What this machine has. It starts two processes, and takes 20 s at the longest."""
    uv, known = find_uv(), version()
    return Abilities(
        uv=uv,
        uv_version=version_of_uv(uv) if uv is not None else None,
        landlock=known,
        lacking=missing(known),
        own_memory=_own_memory(),
    )


async def abilities_of_worker() -> Any:
    """The same, for a worker that is asked on its loop; in the types that `msgspec.convert`
    takes."""
    return msgspec.to_builtins(await off_the_loop(abilities))


def uv_line(has: Abilities, wanted: Wanted) -> Line:
    """The line about uv."""
    if has.uv is None and wanted.sandbox:
        return fail("uv", "is missing, and the setting sandbox needs it", _GET_UV)
    if has.uv is None:
        return ok("uv", "is missing; --sandbox alone would need it")
    if has.uv_version is None:
        return warn("uv", f"{has.uv} does not run: --sandbox cannot work", _GET_UV)
    return ok("uv", f"{has.uv_version} makes environments for --sandbox ({has.uv})")


def confinement_line(has: Abilities, wanted: Wanted) -> Line:
    """The line about whether apps can be confined."""
    lacking = has.lacking
    is_refused = lacking.all or (bool(lacking.what) and wanted.confine == "strict")
    if wanted.confine != "off" and is_refused:
        return fail(
            "confinement",
            f"confine is {wanted.confine}, and no such app starts: {lacking.what}",
            "use a newer Linux, or set confine to what this one can",
        )
    if wanted.confine != "off" and lacking.what:
        return warn("confinement", lacking.what, "use Linux 6.12 or later")
    if lacking.all:
        return ok("confinement", f"apps cannot be confined: {lacking.what}")
    memory = "have a" if has.own_memory else "have no"
    asked = "no app asks for it" if wanted.confine == "off" else f"confine is {wanted.confine}"
    return ok(
        "confinement",
        f"Landlock {has.landlock}: {lacking.what or 'apps can be confined'}, and {memory}"
        f" /dev/shm of their own for multiprocessing; {asked}",
    )


def _own_memory() -> bool:
    """A process tries it, since each kind of system forbids it in its own way."""
    program = "from mpkernel.confinement.own_memory import take_own_memory as take"
    program += "\nraise SystemExit(not take(None).memory)"
    path = os.pathsep.join(filter(None, sys.path))
    try:
        tried = subprocess.run(
            [interpreter(), "-c", program],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, HostStartError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
