"""What can go wrong with a virtual file, each with what the reader can do about it."""

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
    """This kind of storage cannot be had here."""


class NoSpace(Unavailable):
    """A file does not fit.

    Attributes:
        asked_bytes: what was asked for.
        free_bytes: what was free then; None where nobody can tell.
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
    """A file is over what its session, or all sessions together, may store."""


class KeyTaken(ShmError):
    """A key is registered already."""


class NotOwner(ShmError):
    """A file belongs to somebody else."""


class BlockNotFound(ShmError, KeyError):
    """There is no such block, or it is shorter than it should be."""

    def __str__(self) -> str:
        return Exception.__str__(self)
