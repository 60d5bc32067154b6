"""`Facts`: what the checks judge. That something is missing is a fact too."""

from __future__ import annotations

import msgspec

from mpkernel.doctor.abilities import Abilities, Wanted
from mpkernel.doctor.cgroups import CgroupLimits

__all__ = ["ASKED_SOCKET_BYTES", "Facts", "Limits", "Place", "Proc", "Software"]

ASKED_SOCKET_BYTES = 256 * 1024
"""The size of buffer that is asked for a Pipe."""


class Software(msgspec.Struct, frozen=True, kw_only=True):
    """The interpreter and the packages of this process.

    Attributes:
        python: the version.
        implementation: "CPython", or "free-threaded CPython" for a build without the GIL.
        platform: "linux".
        start_methods: of multiprocessing.
        interpreter: the program that processes of apps are launched with.
        interpreter_error: why there is none; None when there is.
        versions: of packages, by name; None for one that is not installed.
        uvloop_error: why it cannot be imported; None when it can.
        marimo_error: why `mpkernel run` refuses the marimo that is here; None when it does not.
        marimo_is_tried: whether the installed marimo is not a supported version, but is allowed
            nevertheless.
        pythons: the Pythons that the settings name for apps.
        clusters: the clusters that the settings name for apps.
        settings_error: what is wrong with the settings; None when nothing is.
    """

    python: tuple[int, int, int]
    implementation: str
    platform: str
    start_methods: list[str]
    versions: dict[str, str | None]
    uvloop_error: str | None = None
    marimo_error: str | None = None
    marimo_is_tried: bool = False
    settings_error: str | None = None
    pythons: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    interpreter: str = ""
    interpreter_error: str | None = None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where virtual files can lie.

    Attributes:
        path: the directory.
        error: why nothing can be written there; None when it can.
        size_bytes, free_bytes: of its file system.
    """

    path: str
    error: str | None = None
    size_bytes: int = 0
    free_bytes: int = 0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of this process and what is used of them; None: no limit.

    Attributes:
        descriptors: how many one process may have.
        processes: how many processes and threads this user may have; None for one who is exempt.
        processes_now: how many there are; None if that cannot be told.
        address_space_bytes: of one process.
        file_bytes: the largest file.
    """

    descriptors: int | None
    processes: int | None
    processes_now: int | None
    address_space_bytes: int | None
    file_bytes: int | None


class Proc(msgspec.Struct, frozen=True, kw_only=True):
    """`/proc` as psutil sees it.

    Attributes:
        error: why it cannot be read; None when it can.
        hidepid: the mount's option; "0" or "off" where it hides nothing.
        processes: how many processes can be seen.
    """

    error: str | None = None
    hidepid: str = "0"
    processes: int = 0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the checks want to know.

    Attributes:
        abilities: what the machine has that only some apps need.
        wanted: what the settings ask of it.
        memory_available_bytes: what the machine can still give; None if that cannot be told.
        pidfd_error: why a pidfd cannot be had; None when it can.
        socket_bytes: what a Pipe holds that was asked to hold `ASKED_SOCKET_BYTES`; None if none
            could be made.
        pipe_bytes: what the pipe of an app's console holds; None if none could be made.
        state_folder: where reports of deaths are kept, and sessions by default.
        state_error: why nothing can be kept there; None when it can.
        leftovers: names of blocks and directories that dead processes left.
        leftover_bytes: the memory that they hold.
        are_swept: whether they have been removed just now.
    """

    software: Software
    shared_memory: Place
    temporary: Place
    limits: Limits
    proc: Proc
    cgroup: CgroupLimits
    abilities: Abilities
    wanted: Wanted = Wanted()
    memory_available_bytes: int | None = None
    pidfd_error: str | None = None
    socket_bytes: int | None = None
    pipe_bytes: int | None = None
    state_folder: str = ""
    state_error: str | None = None
    leftovers: list[str] = []
    leftover_bytes: int = 0
    are_swept: bool = False
