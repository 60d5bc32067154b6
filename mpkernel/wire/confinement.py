"""`Confinement`: what an app's process may do, as its server tells it."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Confinement"]


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """What a confined process may do.

    Attributes:
        level: how much is forbidden; see `Settings.confine`.
        read: the files and folders that it may read, beside those that every confined process may.
        write: the files and folders that it may read and change.
        connect: the TCP ports to which it may connect, if `level` is "strict".
        home: its own folder for temporary files, caches and settings. Empty: the process is on
            another machine, where it was given this folder and those for virtual files. Then it may
            read the folder of the app, too, and "~" in paths is the user's home there.
        files: its own folders for virtual files. Only the first may lie in `/dev/shm`.
    """

    level: Literal["files", "strict"]
    read: list[str]
    write: list[str]
    connect: list[int]
    home: str
    files: list[str]

    @property
    def writable(self) -> list[str]:
        """All files and folders that it may change."""
        return [*self.write, self.home, *self.files]
