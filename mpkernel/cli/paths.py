"""`check_paths`: refuses a path on the command line at which there is nothing to be had."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mpkernel.errors import MPKernelError
from mpkernel.reaching import HOW_TO_REACH, why_unreachable

__all__ = ["check_paths", "check_readable"]


def check_paths(paths: Iterable[str]) -> None:
    """Check that each path names a file or a folder that this user can reach.

    Raises:
        MPKernelError: one does not.
    """
    for path in paths:
        if reason := why_unreachable(path):
            raise MPKernelError(f"{path} cannot be reached: {reason}", remedy=HOW_TO_REACH)
        if not os.path.exists(path):
            raise MPKernelError(f"there is nothing at {path}", remedy="check the path")


def check_readable(folders: Iterable[str]) -> None:
    """Check that this user can read each folder.

    Raises:
        MPKernelError: one cannot be read.
    """
    for folder in folders:
        try:
            os.scandir(folder).close()
        except OSError as error:
            raise MPKernelError(
                f"the folder {folder} cannot be read: {error.strerror}",
                remedy="this user must have the right to read it",
            ) from error
