"""`gather`: collects facts about this machine. `checks` judges them."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import importlib.metadata
import multiprocessing
import os
import platform
import resource
import socket
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

import shm
from mpkernel.configuration.sources import Gathered, Sources
from mpkernel.configuration.sources import gather as gather_settings
from mpkernel.doctor.abilities import Wanted, abilities, wanted_by
from mpkernel.doctor.cgroups import cgroup_limits
from mpkernel.doctor.facts import ASKED_SOCKET_BYTES, Facts, Limits, Place, Proc, Software
from mpkernel.errors import HostStartError, SettingsError, UnsupportedMarimo
from mpkernel.marimo_backend.defaults import DEFAULTS
from mpkernel.marimo_backend.versions import check_marimo, is_supported
from mpkernel.private_files import crash_directory
from mpkernel.server.launching.interpreter import interpreter
from mpkernel.settings import Settings
from mpkernel.system_files import lines_of
from shm.names import next_name

__all__ = ["gather", "wanted_on_cluster"]

_SHM = "/dev/shm"
_PROBE_BYTES = 1024 * 1024


def gather(*, sweep: bool = False) -> Facts:
    """Collect the facts about this machine.

    Args:
        sweep: whether to remove what dead processes left.
    """
    swept = shm.sweep(remove=sweep)
    state = crash_directory().parent
    return Facts(
        software=_software(),
        shared_memory=_place(_SHM),
        temporary=_temporary(),
        limits=_limits(),
        proc=_proc(),
        cgroup=cgroup_limits(),
        memory_available_bytes=_memory_available(),
        abilities=abilities(),
        wanted=_wanted_here(),
        pidfd_error=_pidfd_error(),
        socket_bytes=_socket_bytes(),
        pipe_bytes=_pipe_bytes(),
        state_folder=str(state),
        state_error=_cannot_be_kept(state),
        leftovers=swept.names,
        leftover_bytes=swept.block_bytes,
        are_swept=sweep,
    )


def _implementation() -> str:
    name = platform.python_implementation()
    return f"free-threaded {name}" if sysconfig.get_config_var("Py_GIL_DISABLED") else name


def _software() -> Software:
    names = ("mpkernel", "msgspec", "psutil", "uvloop", "marimo", "pyzmq")
    versions = {name: _version(name) for name in names}
    marimo, marimo_error = versions["marimo"], _marimo_error()
    python, python_error = _interpreter()
    settings, settings_error = _settings()
    return Software(
        python=sys.version_info[:3],
        implementation=_implementation(),
        platform=sys.platform,
        start_methods=multiprocessing.get_all_start_methods(),
        versions=versions,
        uvloop_error=_uvloop_error(),
        marimo_error=marimo_error,
        marimo_is_tried=bool(marimo and not marimo_error and not is_supported(marimo)),
        settings_error=settings_error,
        pythons=_named("python", settings) if settings is not None else (),
        clusters=_named("cluster", settings) if settings is not None else (),
        interpreter=python,
        interpreter_error=python_error,
    )


def _interpreter() -> tuple[str, str | None]:
    try:
        return interpreter(), None
    except HostStartError as error:
        return "", str(error)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _uvloop_error() -> str | None:
    try:
        importlib.import_module("uvloop")
    except ImportError as error:
        return str(error)
    return None


def _marimo_error() -> str | None:
    try:
        check_marimo()
    except UnsupportedMarimo as error:
        return str(error)
    return None


def wanted_on_cluster(address: str) -> Wanted:
    """What the settings of a server in this folder ask of the workers of a cluster. If they place
    no app there, those of a server that is started with `--cluster` and this address.

    Raises:
        SettingsError: a setting is wrong.
    """
    for flags in ({}, {"cluster": address}):
        found = gather_settings(Sources(os.environ, os.getcwd(), flags), DEFAULTS)
        there = [one for one in _of_all_apps(found) if one.cluster == address]
        if there:
            break
    return wanted_by(there)


def _wanted_here() -> Wanted:
    """What they ask of this machine: apps on a cluster have it from their worker."""
    found, _ = _settings()
    if found is None:
        return Wanted()
    return wanted_by(one for one in _of_all_apps(found) if one.cluster is None)


def _of_all_apps(found: Gathered) -> list[Settings]:
    """The settings that an app can have."""
    return [found.settings, *(rule.applied(found.settings) for rule in found.rules)]


def _settings() -> tuple[Gathered | None, str | None]:
    """The settings of a server in this folder, and what is wrong with them."""
    try:
        return gather_settings(Sources(os.environ, os.getcwd()), DEFAULTS), None
    except SettingsError as error:
        return None, str(error)


def _named(setting: str, found: Gathered) -> tuple[str, ...]:
    """The values of one setting: the server's, and those of single apps."""
    named = [getattr(found.settings, setting)]
    named += [rule.changes.get(setting) for rule in found.rules]
    return tuple(dict.fromkeys(filter(None, named)))


def _place(path: str) -> Place:
    """The facts about a directory. This writes a file into it, to try whether that works."""
    try:
        with _scratch_file(path) as fd:
            status = os.fstatvfs(fd)
            free = status.f_bavail * status.f_frsize
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, min(_PROBE_BYTES, free) or 1)
    except OSError as error:
        return Place(path=path, error=error.strerror or str(error))
    return Place(path=path, size_bytes=status.f_blocks * status.f_frsize, free_bytes=free)


def _temporary() -> Place:
    try:
        return _place(tempfile.gettempdir())
    except FileNotFoundError as error:
        return Place(path=os.environ.get("TMPDIR", "/tmp"), error=error.strerror or str(error))


def _cannot_be_kept(directory: Path) -> str | None:
    """Why a directory, which is made when it is needed, cannot be made or written to."""
    for folder in (directory, *directory.parents):
        try:
            found = os.stat(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            return error.strerror
        if not stat.S_ISDIR(found.st_mode):
            return f"{folder} is not a folder"
        is_ours = os.access(folder, os.W_OK | os.X_OK)
        return None if is_ours else f"this user may not write to {folder}"
    return None


@contextlib.contextmanager
def _scratch_file(directory: str) -> Iterator[int]:
    # A name that a later sweep knows, should this process be killed before it removes the file.
    path = os.path.join(directory, next_name())
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)
        os.unlink(path)


def _limits() -> Limits:
    is_exempt = os.geteuid() == 0
    return Limits(
        descriptors=_limit(resource.RLIMIT_NOFILE),
        processes=None if is_exempt else _limit(resource.RLIMIT_NPROC),
        processes_now=_threads_of_user(),
        address_space_bytes=_limit(resource.RLIMIT_AS),
        file_bytes=_limit(resource.RLIMIT_FSIZE),
    )


def _limit(kind: int) -> int | None:
    soft, _ = resource.getrlimit(kind)
    return None if soft == resource.RLIM_INFINITY else soft


def _threads_of_user() -> int | None:
    if not os.path.exists("/proc/self/stat"):
        return None  # psutil fails where it cannot see this process
    threads = 0
    try:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # it has ended, or is hidden
                if process.uids().real == os.getuid():
                    threads += process.num_threads()
    except (OSError, psutil.Error):
        return None
    return threads


def _proc() -> Proc:
    if sys.platform == "linux" and not os.path.exists("/proc/self/stat"):
        return Proc(error="nothing is mounted there")
    try:
        psutil.Process().memory_info()
        count = len(psutil.pids())
        mounts = [line.split(" ") for line in lines_of("/proc/self/mounts")]
        options = [mount[3] for mount in mounts if mount[1] == "/proc"]
    except (OSError, psutil.Error) as error:
        return Proc(error=str(error))
    hidepid = "0"
    for option in ",".join(options).split(","):
        name, _, value = option.partition("=")
        if name == "hidepid":
            hidepid = value
    return Proc(hidepid=hidepid, processes=count)


def _memory_available() -> int | None:
    try:
        return int(psutil.virtual_memory().available)
    except OSError:
        return None


def _pidfd_error() -> str | None:
    if not hasattr(os, "pidfd_open"):
        return "this Python has no os.pidfd_open"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return error.strerror or str(error)
    return None


def _socket_bytes() -> int | None:
    try:
        ours, theirs = socket.socketpair()
    except OSError:
        return None
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ASKED_SOCKET_BYTES)
        # Linux reports twice the size.
        return ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2


def _pipe_bytes() -> int | None:
    try:
        read_end, write_end = os.pipe()
    except OSError:
        return None
    try:
        return fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ)
    finally:
        os.close(read_end)
        os.close(write_end)
