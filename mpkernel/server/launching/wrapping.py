"""What stands in front of the interpreter of an app's process: the setting `launch_wrapper`.

    Wrapper        the command, and where the virtual files of a process behind it are kept
    HandedFolder   that place, which the process is handed as an open descriptor
    host_behind    which of the processes that a wrapper has started is the host

A wrapper may become the interpreter (`nice`), or start it and wait (`bwrap`). It may also give it
namespaces of its own. Then the process has another number for itself than its server has for it,
and other files under the same paths. A descriptor leads to the same folder in each namespace.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from typing import Literal, NamedTuple

from mpkernel.errors import HostStartError
from mpkernel.process_tree import descendants_of
from mpkernel.settings import Settings
from mpkernel.wire.before_host import Hello
from shm.names import ProcessTag, own_tag, tag_of

__all__ = [
    "FoundHost",
    "HandedFolder",
    "Wrapper",
    "handed_folder",
    "host_behind",
    "make_files_folder",
    "wrapper_of",
]

_SHARED_MEMORY = "/dev/shm"
_OWN_DESCRIPTORS = "/proc/self/fd"


class Wrapper(NamedTuple):
    """A command that starts the interpreter.

    Attributes:
        command: its words; those of the interpreter follow.
        storage, fallback: see the settings `file_storage` and `file_fallback`.
    """

    command: tuple[str, ...]
    storage: Literal["shared_memory", "temp_file"] | None
    fallback: Literal["temp_file"] | None

    def error(self, name: str, error: OSError) -> HostStartError:
        """What to raise when the command could not be executed.

        Args:
            name: what should have run behind it.
            error: the refusal.
        """
        program = self.command[0]
        return HostStartError(
            f"no process could be launched for {name}: launch_wrapper is"
            f" {shlex.join(self.command)}, and {program} cannot be executed ({error.strerror})",
            remedy=f"install {program}, or name it with its path, or set another launch_wrapper",
        )


def wrapper_of(settings: Settings) -> Wrapper | None:
    """The wrapper of an app with these settings; None if it has none."""
    if settings.launch_wrapper is None:
        return None
    words = tuple(shlex.split(settings.launch_wrapper))
    return Wrapper(words, settings.file_storage, settings.file_fallback)


class HandedFolder:
    """A folder for the virtual files of one process, which has the folder as an open descriptor.

    Args:
        path: where the server finds it. It is empty, and belongs to this object from now on.

    Attributes:
        path: as given, until `belong_to` is called.
        fd: the descriptor, which is to be handed to the process under the same number.

    Raises:
        OSError: no descriptor is left. The folder is removed then.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            os.rmdir(path)
            raise

    @property
    def seen_as(self) -> str:
        """The path under which the process finds it."""
        return f"{_OWN_DESCRIPTORS}/{self.fd}"

    def belong_to(self, pid: int) -> None:
        """Rename it after the process, which was launched: if this server is killed, the next one
        sees by the name that nobody uses the folder.

        Raises:
            OSError: it cannot be renamed.
        """
        folder, name = os.path.split(self.path)
        path = os.path.join(folder, tag_of(pid).prefix + name.rpartition("-")[2])
        os.rename(self.path, path)
        self.path = path

    def close(self) -> None:
        """Close the descriptor: the process has its own by now, or there is none."""
        os.close(self.fd)

    def remove(self) -> None:
        """Remove the folder, with all that it holds. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)


def handed_folder(wrapper: Wrapper) -> HandedFolder | None:
    """A folder for a process behind a wrapper. None if it keeps no virtual files, or if this system
    cannot hand over a folder: then the process must see the same folders as its server.

    Raises:
        OSError: it cannot be made.
    """
    if not os.path.exists(_OWN_DESCRIPTORS):
        return None
    path = make_files_folder(own_tag(), wrapper.storage, wrapper.fallback)
    return HandedFolder(path) if path is not None else None


def make_files_folder(
    owner: ProcessTag,
    storage: Literal["shared_memory", "temp_file"] | None,
    fallback: Literal["temp_file"] | None,
) -> str | None:
    """Make a folder (mode 0700) for virtual files, in memory if they are to lie in shared memory,
    and if that is a file system here. Returns its path; None if there are to be no virtual files.

    Args:
        owner: after whom it is named.
        storage, fallback: see the settings `file_storage` and `file_fallback`.

    Raises:
        OSError: it cannot be made.
    """
    if storage is None:
        return None
    if storage == "shared_memory":
        try:
            return tempfile.mkdtemp(prefix=owner.prefix, dir=_SHARED_MEMORY)
        except OSError:
            if fallback is None:
                raise
    return tempfile.mkdtemp(prefix=owner.prefix)


class FoundHost(NamedTuple):
    """A host behind a wrapper.

    Attributes:
        pid: its process id for the server.
        tag: what names its blocks, with its process id for itself.
    """

    pid: int
    tag: ProcessTag


def host_behind(launched: int, hello: Hello) -> FoundHost | None:
    """Finds the host that has sent this `Hello`: the launched process, or one that it has started.
    None if it is none of these.

    Args:
        launched: the process that was launched.
        hello: what the host says; its process id is that of its own namespace.
    """
    if hello.pid == launched and hello.namespace in (0, own_tag().namespace):
        return FoundHost(launched, tag_of(launched))
    for pid in (launched, *(one.pid for one in descendants_of(launched))):
        namespace = _namespace_of(pid, told=hello.namespace)
        if _own_number(pid) == hello.pid and namespace == hello.namespace:
            return FoundHost(pid, ProcessTag(namespace, hello.pid, tag_of(pid).start))
    return None


def _own_number(pid: int) -> int | None:
    """The id that a process has in its own pid namespace; None if it has ended."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            numbers = [line.split() for line in status if line.startswith(b"NSpid:")]
    except OSError:
        return None
    return int(numbers[0][-1]) if numbers else pid


def _namespace_of(pid: int, *, told: int) -> int:
    """The inode of a process's pid namespace. If this user may not look it up, what the process
    said."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return told
