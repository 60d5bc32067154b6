"""Attempts at files and folders that are not the app's, and at what is mounted."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import struct
import tempfile

from .targets import Targets


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1)


def see(folder: str, name: str) -> None:
    if name not in os.listdir(folder):
        raise FileNotFoundError(name)


def by_link(targets: Targets) -> None:
    link = os.path.join(tempfile.mkdtemp(), "link")
    os.symlink(targets["secret"], link)
    read(link)


def by_hard_link(targets: Targets) -> None:
    link = os.path.join(tempfile.mkdtemp(), "link")
    os.link(targets["secret"], link)
    read(link)


def through_root(targets: Targets) -> None:
    read(f"/proc/{targets['server']}/root{targets['secret']}")


def write_beside(targets: Targets) -> None:
    with open(os.path.join(targets["folder"], "new"), "w"):
        return


def truncate(targets: Targets) -> None:
    os.truncate(targets["secret"], 0)


def rename(targets: Targets) -> None:
    os.rename(targets["secret"], targets["secret"] + ".moved")
    os.rename(targets["secret"] + ".moved", targets["secret"])


def change_mode(targets: Targets) -> None:
    os.chmod(targets["secret"], 0o644)


def change_owner(targets: Targets) -> None:
    os.chown(targets["secret"], os.geteuid(), os.getegid())


def dump_core(targets: Targets) -> None:
    """Where the system writes cores into the current folder, as it does by itself."""
    pid = os.fork()
    if pid == 0:
        try:
            _, most = resource.getrlimit(resource.RLIMIT_CORE)
            resource.setrlimit(resource.RLIMIT_CORE, (most, most))
            os.chdir(targets["folder"])
            faulthandler.disable()
            os.abort()
        finally:
            os._exit(1)
    if not os.WCOREDUMP(os.waitpid(pid, 0)[1]):
        raise PermissionError("a core is not dumped")


def mount(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    into = tempfile.mkdtemp().encode()
    if libc.mount(targets["folder"].encode(), into, None, 4096, None) != 0:
        raise PermissionError(ctypes.get_errno(), "mount")
    libc.umount2(into, 2)  # MNT_DETACH


def mount_in_own_namespace(targets: Targets) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            libc.unshare(0x10000000 | 0x00020000)
            mount(targets)
        except BaseException:  # noqa: BLE001 (only whether it worked is told)
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        raise PermissionError("mount in a namespace")


def change_root(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.unshare(0x10000000 | 0x00020000)
    if libc.chroot(targets["folder"].encode()) != 0:
        raise PermissionError(ctypes.get_errno(), "chroot")
    os.listdir("/")


def by_handle(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 8 + 128)
    mount_id = ctypes.c_int()
    where = targets["secret"].encode()
    if libc.name_to_handle_at(-100, where, handle, ctypes.byref(mount_id), 0) != 0:
        raise PermissionError(ctypes.get_errno(), "name_to_handle_at")
    beside = os.open(tempfile.mkdtemp(), os.O_RDONLY)
    fd = libc.open_by_handle_at(beside, handle, os.O_RDONLY)
    os.close(beside)
    if fd < 0:
        raise PermissionError(ctypes.get_errno(), "open_by_handle_at")
    os.read(fd, 1)
    os.close(fd)


def watch(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(0)
    if fd < 0 or libc.inotify_add_watch(fd, targets["folder"].encode(), 0x100) < 0:
        raise PermissionError(ctypes.get_errno(), "inotify")
    os.close(fd)


def watch_all(_: Targets) -> None:
    fd = ctypes.CDLL(None, use_errno=True).fanotify_init(0x200, 0)  # FAN_REPORT_FID
    if fd < 0:
        raise PermissionError(ctypes.get_errno(), "fanotify_init")
    os.close(fd)


def uncover_shared_memory(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if os.readlink("/proc/self/ns/mnt") == targets["mounts"]:
        raise PermissionError("it has no mounts of its own, and the machine's are not for a test")
    libc.umount2(b"/dev/shm", 2)  # MNT_DETACH
    if libc.unshare(0x10000000 | 0x00020000) == 0:
        libc.umount2(b"/dev/shm", 2)
    see("/dev/shm", targets["block"])
