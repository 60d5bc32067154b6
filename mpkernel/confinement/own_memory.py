"""A `/dev/shm` of its own for a confined process: for the locks, queues and blocks of shared memory
of `multiprocessing`, whose names the C library looks for in that folder alone.

It is a new tmpfs in a mount namespace of the process, as large as the machine's `/dev/shm`. Root
may make such a namespace. Another user must first make a user namespace, in which it has the rights
of root; some systems forbid that. The tmpfs ends with the last process in it, so nothing of it is
ever left.
"""

from __future__ import annotations

import os

import msgspec

from mpkernel.confinement.capabilities import permitted_capabilities
from mpkernel.confinement.landlock import libc
from mpkernel.confinement.own_mounts import MS_BIND, MS_REC, mount

__all__ = ["SHARED_MEMORY", "Namespaces", "take_own_memory"]

SHARED_MEMORY = "/dev/shm"

_CAP_SYS_ADMIN = 21
_PR_GET_DUMPABLE = 3
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_PRIVATE = 2, 4, 1 << 18
_RESTRICTED = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"


class Namespaces(msgspec.Struct, frozen=True):
    """Which namespaces a process has for itself.

    Attributes:
        memory: whether that is a `/dev/shm`.
        mounts: whether that is a mount namespace, whose mounts no other sees.
        users: whether that is a user namespace.
    """

    memory: bool
    mounts: bool
    users: bool


def take_own_memory(kept: str | None) -> Namespaces:
    """Give the calling process, which has one thread, a `/dev/shm` of its own.

    Args:
        kept: a folder that stays there under the same path, if it is in `/dev/shm`.

    Returns:
        What it has now; this system may forbid it.

    Raises:
        OSError: the process has a user namespace of its own now, and no user in it.
    """
    is_root = bool(permitted_capabilities() & 1 << _CAP_SYS_ADMIN)
    if not (_enter_mount_namespace() if is_root else _enter_user_namespace()):
        return Namespaces(memory=False, mounts=False, users=False)
    has_mounts = mount(None, "/", None, MS_REC | _MS_PRIVATE)
    has_memory = has_mounts and _mount_own_memory(kept)
    return Namespaces(memory=has_memory, mounts=has_mounts, users=not is_root)


def _mount_own_memory(kept: str | None) -> bool:
    if not os.path.isdir(SHARED_MEMORY):
        return False
    options = _size_of_machines()
    folder = None
    if kept is not None and os.path.dirname(kept) == SHARED_MEMORY:
        folder = os.open(kept, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not mount("tmpfs", SHARED_MEMORY, "tmpfs", _MS_NOSUID | _MS_NODEV, options):
            return False
        if folder is not None and kept is not None:
            os.mkdir(kept, 0o700)
            if not mount(f"/proc/self/fd/{folder}", kept, None, MS_BIND):
                libc().umount2(SHARED_MEMORY.encode(), 0)
                return False
    finally:
        if folder is not None:
            os.close(folder)
    return True


def _size_of_machines() -> str | None:
    """The option of mount(8) for a tmpfs as large as the machine's `/dev/shm`: an operator, or a
    container, may have made that smaller than the half of the memory that is usual. None where it
    is no file system of its own."""
    if not os.path.ismount(SHARED_MEMORY):
        return None
    machines = os.statvfs(SHARED_MEMORY)
    return f"size={machines.f_blocks * machines.f_frsize}"


def _enter_mount_namespace() -> bool:
    return bool(libc().unshare(_CLONE_NEWNS) == 0)


def _enter_user_namespace() -> bool:
    """Move this process into a user namespace of its own, as the same user, and into a mount
    namespace of its own."""
    # A process that has changed its user, and executed nothing since, may not write its own maps.
    if _is_restricted() or libc().prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 1:
        return False
    user, group = os.geteuid(), os.getegid()
    if libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
        return False
    for name, text in (
        ("setgroups", "deny"),  # otherwise the kernel refuses to map the group
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "wb", buffering=0) as file:
            file.write(text.encode())
    return True


def _is_restricted() -> bool:
    """Whether this system lets anybody make a user namespace, but do nothing in it (Ubuntu from
    24.04 on)."""
    try:
        with open(_RESTRICTED, "rb") as file:
            return file.read().strip() == b"1"
    except OSError:
        return False
