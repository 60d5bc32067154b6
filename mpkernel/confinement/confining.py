"""`confine`: the calling process gives up all rights that its app must not have."""

from __future__ import annotations

import errno
import os

import msgspec

from mpkernel.confinement.bounds import set_bounds
from mpkernel.confinement.capabilities import give_up_capabilities, permitted_capabilities
from mpkernel.confinement.explaining import explain_refusals
from mpkernel.confinement.landlock import Access, Ruleset, no_new_privileges, version
from mpkernel.confinement.own_memory import SHARED_MEMORY, take_own_memory
from mpkernel.confinement.own_mounts import keep_writable
from mpkernel.confinement.reachable import allow_files
from mpkernel.confinement.surroundings import move_in, offer_managers
from mpkernel.confinement.system_calls import Filter, filter_is_known, install_filter
from mpkernel.errors import ConfinementError
from mpkernel.wire.confinement import Confinement
from shm.aging import KeptFolder

__all__ = ["Missing", "confine", "missing"]

_WHOLE = 6
"""The version of Landlock that knows all that is used here."""

_SINCE = (
    (2, "moving files between folders"),
    (3, "cutting files short"),
    (4, "TCP ports"),
    (5, "commands to devices"),
    (6, "signals and abstract sockets"),
)


class Missing(msgspec.Struct, frozen=True):
    """What this machine's kernel lacks for confinement.

    Attributes:
        all: whether nothing can be confined at all.
        what: what is lacking, in words; empty if nothing is.
    """

    all: bool
    what: str


def missing(known: int) -> Missing:
    """What a Linux kernel lacks for confinement.

    Args:
        known: its version of Landlock; 0 for none.
    """
    if known == 0 or not filter_is_known():
        return Missing(True, "Linux 5.13 or later with Landlock is needed (x86_64 or aarch64)")
    lacking = [what for since, what in _SINCE if known < since]
    if not lacking:
        return Missing(False, "")
    return Missing(
        False,
        f"this kernel's Landlock has version {known}, and {_WHOLE} is needed (Linux 6.12): it"
        f" cannot forbid {', '.join(lacking)}",
    )


def confine(confinement: Confinement) -> str:
    """Give up all rights that a confined process must not have. To be called while the process has
    one thread. If this fails, the process must end.

    Returns:
        What this kernel cannot forbid, in words; empty if it forbids all of it.

    Raises:
        ConfinementError: it cannot be done here, or not as far as "strict" says.
    """
    known = version()
    lacking = missing(known)
    if lacking.all:
        raise ConfinementError(
            f"no app can be confined on this machine: {lacking.what}",
            remedy="set confine to off for apps that you trust",
        )
    is_strict = confinement.level == "strict"
    if is_strict and lacking.what:
        raise ConfinementError(
            f"no app can be confined with confine=strict on this machine: {lacking.what}",
            remedy="set confine to files, which forbids what this kernel can",
        )
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        raise ConfinementError(
            f"the process has {threads} threads already, which would keep their rights",
            remedy="look at what the environment's .pth files and sitecustomize.py start",
        )
    try:
        move_in(confinement.home)
        before = permitted_capabilities()
        own = take_own_memory(next(iter(confinement.files), None))
        if own.mounts:
            own_memory = [SHARED_MEMORY] if own.memory else []
            keep_writable([*confinement.writable, *own_memory])
        if is_strict:
            set_bounds(alone=own.users)
        no_new_privileges()
        with Ruleset(known, tcp=is_strict) as rules:
            allow_files(rules, confinement)
            if own.memory:
                rules.allow_path(SHARED_MEMORY, Access.READ | Access.CHANGE)
            for port in confinement.connect if is_strict else ():
                rules.allow_port(port)
            give_up_capabilities(before)
            rules.restrict()
        install_filter(Filter(only_tcp=is_strict))
        # Opened only now, these descriptors give no right that the process has not.
        for folder in (confinement.home, *confinement.files):
            KeptFolder(folder)  # until the process ends
        offer_managers()
        explain_refusals(confinement.level, has_own_memory=own.memory)
    except (OSError, ValueError) as error:
        has_no_space = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise ConfinementError(
            f"the process could not be confined: {error}",
            remedy="make room there, or set TMPDIR to another folder"
            if has_no_space
            else "look at how the container or the service of this server is restricted itself",
        ) from error
    return lacking.what
