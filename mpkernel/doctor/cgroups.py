"""The limits that control groups (version 1 or 2) set for this process: of its group and all groups
above it, the limit that leaves the least. In a container only the groups mounted there are seen."""

from __future__ import annotations

import os

import msgspec

from mpkernel.system_files import lines_of

__all__ = ["CgroupLimits", "cgroup_limits"]

_NO_LIMIT = 2**62
"""Version 1 writes "no limit" as the largest number of whole pages."""


class CgroupLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits; None where there is none.

    Attributes:
        memory_bytes: of all its processes together, their files in `/dev/shm` too.
        memory_used_bytes: of the same group, now.
        processes: how many processes and threads.
        processes_now: how many there are in the same group.
        dies_whole: whether all processes of the group are killed when it has no memory left.
    """

    memory_bytes: int | None = None
    memory_used_bytes: int | None = None
    processes: int | None = None
    processes_now: int | None = None
    dies_whole: bool = False


def cgroup_limits(root: str = "/") -> CgroupLimits:
    """The limits of the calling process; none where they cannot be read.

    Args:
        root: where the machine's file system begins.
    """
    memory = _directories(root, "memory")
    pids = _directories(root, "pids")
    limit, used = _tightest(
        [
            *_pairs(memory, "memory.max", "memory.current"),
            *_pairs(memory, "memory.limit_in_bytes", "memory.usage_in_bytes"),
        ]
    )
    processes, processes_now = _tightest(_pairs(pids, "pids.max", "pids.current"))
    return CgroupLimits(
        memory_bytes=limit,
        memory_used_bytes=used,
        processes=processes,
        processes_now=processes_now,
        dies_whole=any(_number(os.path.join(place, "memory.oom.group")) for place in memory),
    )


def _tightest(pairs: list[tuple[int, int]]) -> tuple[int | None, int | None]:
    """The limit that leaves the least, and how much of it is used."""
    return min(pairs, key=lambda pair: pair[0] - pair[1], default=(None, None))


def _pairs(directories: list[str], limit: str, usage: str) -> list[tuple[int, int]]:
    found = []
    for directory in directories:
        most = _number(os.path.join(directory, limit))
        if most is not None and most < _NO_LIMIT:
            found.append((most, _number(os.path.join(directory, usage)) or 0))
    return found


def _directories(root: str, controller: str) -> list[str]:
    """Where the files of this process's group and of those above it are, for a controller."""
    directories = []
    for line in _lines(os.path.join(root, "proc/self/cgroup")):
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        parts = group.strip("/").split("/")
        upward = ["/".join(parts[:length]) for length in range(len(parts), -1, -1)]
        for mounted_at in _mounts(root, controllers, controller):
            directories += [os.path.join(mounted_at, above) for above in upward]
    return directories


def _mounts(root: str, controllers: str, controller: str) -> list[str]:
    """Where a hierarchy of the controller is mounted; version 2 names no controllers."""
    if controllers and controller not in controllers.split(","):
        return []
    found = []
    for line in _lines(os.path.join(root, "proc/self/mounts")):
        _, place, kind, options, *_ = line.split(" ")
        is_version_1 = kind == "cgroup" and controller in options.split(",")
        if is_version_1 if controllers else kind == "cgroup2":
            found.append(os.path.join(root, place.lstrip("/")))
    return found


def _number(path: str) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _lines(path: str) -> list[str]:
    try:
        return lines_of(path)
    except OSError:  # the file is missing, or this user may not read it
        return []
