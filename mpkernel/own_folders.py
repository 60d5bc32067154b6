"""The folders of its own that a confined process on another machine gets from who starts it there.

The server tells a process on its own machine where these folders are. On another machine it cannot
make them, and does not know their paths: so these come in the variable `OWN_FOLDERS`, which the
process takes away before any code of the app runs.
"""

from __future__ import annotations

import os

import msgspec

__all__ = ["OWN_FOLDERS", "OwnFolders", "take_from_environment"]

OWN_FOLDERS = "MPKERNEL_OWN_FOLDERS"
"""The name of the variable: `OwnFolders` as JSON."""


class OwnFolders(msgspec.Struct, frozen=True):
    """The folders.

    Attributes:
        home: see `Confinement`.
        files: for virtual files, where no folder is handed over as a descriptor.
    """

    home: str
    files: tuple[str, ...]


def take_from_environment() -> OwnFolders | None:
    """The folders of this process; None if it was given none. Called once, at its beginning."""
    given = os.environ.pop(OWN_FOLDERS, None)
    return None if given is None else msgspec.json.decode(given, type=OwnFolders)
