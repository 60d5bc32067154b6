"""Unpacks the archive of an app's folder, at a worker. Blocks: not for the thread of a loop."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable
from typing import Any

from mpkernel.dask_backend.packing import MOST_ENTRIES
from shm.names import own_tag

__all__ = ["remove_copy", "unpacked"]

# Python before 3.11.4 has no filters, and `_check` alone says what may be unpacked.
_FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def unpacked(fd: int, name: str, is_over: Callable[[], bool]) -> str:
    """Unpack an archive into a folder of its own that only this user may enter.

    Args:
        fd: of the archive; its position does not matter, and is changed.
        name: what the folder of the app is called there.
        is_over: called again and again; when it returns True, unpacking stops.

    Returns the folder of its own, in which the app's folder lies. Its name says that it belongs to
    the calling process: if that is killed, whoever sweeps next removes it.

    Raises:
        OSError: there is no room for it.
        ValueError: it is no such archive.
    """
    own = tempfile.mkdtemp(prefix=own_tag().prefix)
    try:
        folder = os.path.join(own, name)
        os.mkdir(folder, 0o700)
        os.lseek(fd, 0, os.SEEK_SET)
        with (
            open(fd, "rb", closefd=False) as file,
            tarfile.open(
                fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape"
            ) as archive,
        ):
            for count, member in enumerate(archive):
                if is_over():
                    break
                if count >= MOST_ENTRIES:
                    raise ValueError(f"it has more than {MOST_ENTRIES} entries")
                _check(member, folder)
                archive.extract(member, folder, **_FILTER)
    except tarfile.TarError as error:
        remove_copy(own)
        raise ValueError(str(error)) from error
    except BaseException:
        remove_copy(own)
        raise
    return own


def _check(member: tarfile.TarInfo, folder: str) -> None:
    """Check that a member is what `packing` makes, and stays in the folder. Nobody but its owner
    may write to it.

    Raises:
        ValueError: the member is not of this kind, or would leave the folder.
    """
    top = os.path.realpath(folder)
    ends = [os.path.join(folder, member.name)]
    if member.issym():
        ends.append(os.path.join(folder, os.path.dirname(member.name), member.linkname))
    elif not (member.isreg() or member.isdir()):
        raise ValueError(f"{member.name} is no file, folder or link")
    for end in ends:
        if os.path.commonpath([top, os.path.realpath(end)]) != top:
            raise ValueError(f"{member.name} leads out of the folder")
    member.mode &= 0o755


def remove_copy(own: str) -> None:
    """Remove a folder that `unpacked` gave, also if the app has closed folders in it to itself.

    Raises:
        OSError: something of it is left.
    """
    try:
        shutil.rmtree(own)
    except FileNotFoundError:  # a sweep has removed it already
        return
    except PermissionError:
        for folder, _, _ in os.walk(own):  # from the top down, so that each folder can be entered
            os.chmod(folder, stat.S_IRWXU)
        shutil.rmtree(own)
