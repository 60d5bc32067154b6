"""Removing what dead processes left: blocks and temporary directories. Their names say which
process made them.

Something is removed only if it belongs to this user, and if the process that made it ran on this
machine and in this pid namespace and is known to be gone. On macOS shared memory is not a file
system, and blocks cannot be listed: there, only the resource tracker removes them.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from typing import NamedTuple

from shm.blocks import unlink_stray
from shm.names import ProcessTag, owner_of

__all__ = ["Swept", "sweep", "sweep_process"]

logger = logging.getLogger(__name__)

_BLOCKS = "/dev/shm"


class Swept(NamedTuple):
    """What was removed.

    Attributes:
        names: the names of blocks and directories.
        block_bytes: how many bytes the blocks held.
    """

    names: list[str]
    block_bytes: int


def sweep(*, remove: bool = True) -> Swept:
    """Remove what processes left that have ended. This may take some time: do not call it on the
    thread of an event loop.

    Args:
        remove: False: only look, and remove nothing.
    """
    alive: dict[ProcessTag, bool] = {}

    def is_left(owner: ProcessTag) -> bool:
        if owner not in alive:
            alive[owner] = owner.may_live
        return not alive[owner]

    swept = _sweep(is_left, remove=remove)
    if swept.names and remove:
        logger.info(
            "removed what dead processes left: %d names, %d bytes of shared memory",
            len(swept.names),
            swept.block_bytes,
        )
    return swept


def sweep_process(owner: ProcessTag) -> Swept:
    """Remove what one process left. The caller must know that this process has ended."""
    return _sweep(lambda tag: tag == owner, remove=True)


def _sweep(is_left: Callable[[ProcessTag], bool], *, remove: bool) -> Swept:
    names, block_bytes = [], 0
    for directory in _directories():
        for entry in _entries(directory):
            owner = owner_of(entry.name)
            if owner is None or not is_left(owner):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if status.st_uid != os.geteuid():
                continue
            is_directory = stat.S_ISDIR(status.st_mode)
            if not is_directory and directory != _BLOCKS:
                continue
            names.append(entry.name)
            if not is_directory:
                block_bytes += status.st_size
            if remove and is_directory:
                shutil.rmtree(entry.path, ignore_errors=True)
            elif remove:
                unlink_stray(entry.name)
    return Swept(names, block_bytes)


def _directories() -> list[str]:
    try:
        return list(dict.fromkeys((_BLOCKS, tempfile.gettempdir())))
    except FileNotFoundError as error:  # there is no directory that this user may write to
        logger.debug("no temporary directories to sweep: %s", error)
        return [_BLOCKS]


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError as error:
        logger.debug("nothing to sweep in %s: %s", directory, error)
        return []
