"""marimo's virtual files in a host.

marimo keeps one storage per process and asks it by name. Here the storage depends
on the calling thread's session (`SessionFiles`), so that each file has an owner.
"""

from __future__ import annotations

import threading

from mpkernel.host.session_files import SessionFiles
from mpkernel.marimo_backend import seam
from shm import new_key

__all__ = ["bind_thread", "store_by_session"]

_bound = threading.local()


def store_by_session() -> None:
    """Have marimo's kernels of this process keep their files in the storage of their session, under
    names that cannot be guessed."""
    seam.replace_storage_manager(_session_files)
    seam.replace_random_filename(new_key)


def bind_thread(files: SessionFiles) -> None:
    """Have the kernel that starts on the calling thread keep its files in `files`. marimo asks for
    the storage when it makes the kernel's registry of files (and that of an embedded app). Later
    calls come from any thread, through that registry."""
    _bound.files = files


def _session_files() -> SessionFiles | None:
    files: SessionFiles | None = getattr(_bound, "files", None)
    return files if files is not None and files.enabled else None
