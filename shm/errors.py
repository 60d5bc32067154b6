"""What can go wrong with a virtual file. Each message says what its reader can do."""

from __future__ import annotations

__all__ = [
    "BlockNotFound",
    "KeyTaken",
    "NoSpace",
    "NotOwner",
    "QuotaExceeded",
    "ShmError",
    "Unavailable",
]


class ShmError(Exception):
    """The base of all errors of this package."""


class Unavailable(ShmError):
    """This kind of storage cannot be used here, or not now."""


class NoSpace(Unavailable):
    """There is no space for a file.

    Attributes:
        asked_bytes: how many bytes were asked for.
        free_bytes: how many were free then; None where that is not known.
    """

    def __init__(self, where: str, asked_bytes: int, free_bytes: int | None) -> None:
        free = "an unknown number" if free_bytes is None else f"{free_bytes:,}"
        super().__init__(
            f"no space in {where}: {asked_bytes:,} bytes were asked for, {free} are free;"
            f" make {where} larger, remove files from it, or choose another storage"
        )
        self.asked_bytes = asked_bytes
        self.free_bytes = free_bytes


class QuotaExceeded(ShmError):
    """With this file, its session or all sessions together would store more than they may."""


class KeyTaken(ShmError):
    """The key is registered already."""


class NotOwner(ShmError):
    """The file belongs to somebody else."""


class BlockNotFound(ShmError, KeyError):
    """There is no such block, or it is shorter than it should be."""

    def __str__(self) -> str:
        return Exception.__str__(self)
