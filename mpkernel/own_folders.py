"""The private folders of a confined process on another machine: the process that starts it there
names them.

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
    """The private folders of a process.

    Attributes:
        home: see `Confinement`.
        files: folders for virtual files; empty where one is handed over as a descriptor.
    """

    home: str
    files: tuple[str, ...]


def take_from_environment() -> OwnFolders | None:
    """The folders of this process; None if it was given none. Called once, at its beginning."""
    given = os.environ.pop(OWN_FOLDERS, None)
    return None if given is None else msgspec.json.decode(given, type=OwnFolders)
