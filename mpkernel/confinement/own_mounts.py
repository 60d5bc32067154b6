"""Makes all files read-only for a confined process, except those that it may change.

Landlock forbids to write files, and knows nothing of their modes, owners, times and attributes: a
process could make a program of its user's run with the user's rights for everybody. In a mount
namespace of its own, a process can make all mounts read-only, where the kernel refuses all of this.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable, Iterator

from mpkernel.confinement.landlock import libc, system_call

__all__ = ["MS_BIND", "MS_REC", "keep_writable", "mount"]

MS_BIND, MS_REC = 4096, 16384
_MOUNT_SETATTR = 442  # the same on every architecture
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_RDONLY = 1


def keep_writable(paths: Iterable[str]) -> bool:
    """Make all else read-only, in the calling process's mount namespace, which is its own.

    Args:
        paths: files and folders. One that is not there is left out.

    Returns:
        Whether that was done. If not, all is as writable as before.
    """
    kept = list(_highest(paths))
    if "/" in kept:
        return True
    if not all(mount(path, path, None, MS_BIND | MS_REC) for path in kept):
        return False
    try:
        _set_attributes("/", _AT_RECURSIVE, on=_RDONLY)
    except OSError:
        return False
    for path in kept:
        try:
            _set_attributes(path, _AT_RECURSIVE, off=_RDONLY)
        except OSError:  # a mount in it was read-only before, and stays so
            with contextlib.suppress(OSError):
                _set_attributes(path, 0, off=_RDONLY)
    with contextlib.suppress(OSError):  # the current folder is gone
        os.chdir(os.getcwd())  # it may be one of these, and was reached through another mount
    return True


def mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> bool:
    """Mount a file system, as mount(2) does. Returns whether it was done."""
    encoded = [one.encode() if one is not None else None for one in (source, target, kind, options)]
    return bool(libc().mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]) == 0)


def _highest(paths: Iterable[str]) -> Iterator[str]:
    """The paths that do not lie in another one of these. (A file below a descriptor is on that
    descriptor's mount, which stays as it is.)"""
    last = None
    found = {os.path.realpath(one) for one in paths if not one.startswith("/proc/")}
    for path in sorted(found, key=lambda one: one.split("/")):
        is_in_last = last is not None and os.path.commonpath((last, path)) == last
        if not is_in_last and os.path.exists(path):
            last = path
            yield path


def _set_attributes(path: str, flags: int, *, on: int = 0, off: int = 0) -> None:
    attributes = struct.pack("=4Q", on, off, 0, 0)
    system_call(_MOUNT_SETATTR, _AT_FDCWD, path.encode(), flags, attributes, len(attributes))
