"""What a registry keeps of a virtual file: its owner, where its bytes lie, and who needs them."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from shm.blocks import CHUNK_BYTES
from shm.sources import Reader, Source

__all__ = ["Entry", "FileInfo", "Owner", "check_media_type", "new_key"]

_KEY_BYTES = 16
_MOST_CHARS = 255


def new_key(extension: str = "") -> str:
    """An unguessable key: 128 random bits in 22 characters, then `.extension` if there is one."""
    token = base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)).rstrip(b"=").decode()
    return f"{token}.{extension}" if extension else token


def check_media_type(media_type: object) -> None:
    """Refuse what no other process, and no browser, would take for a media type.

    Raises:
        TypeError: it is not a str.
        ValueError: it is too long, or has other characters than those of ASCII that are printed.
    """
    if not isinstance(media_type, str):
        raise TypeError(
            f"the media type of a virtual file must be a str, as 'image/png', not {media_type!r}"
        )
    is_printed = media_type.isascii() and media_type.isprintable()
    if not is_printed or len(media_type) > _MOST_CHARS:
        raise ValueError(
            f"{media_type[:40]!r} is not a media type: at most {_MOST_CHARS} characters of ASCII"
        )


class Owner(NamedTuple):
    """The owner of a file.

    Attributes:
        host: the process, by any name that its server gives it.
        session: the session in that process; None for a file of the process itself.
    """

    host: str | int
    session: str | int | None = None


class FileInfo(NamedTuple):
    """What a snapshot says of one file.

    Attributes:
        key, size, media_type, owner: as registered; the size in bytes.
        references: how many objects show it.
        leases: how many readers hold its bytes.
        released: whether the file has ended and its bytes are kept for those readers only.
        registered_at: seconds since the epoch.
    """

    key: str
    size: int
    media_type: str
    owner: Owner
    references: int
    leases: int
    released: bool
    registered_at: float


class Entry:
    """One registered file. `Registry.lease` gives it to a reader.

    Attributes:
        key, size, media_type, owner: as registered; the size in bytes.
    """

    __slots__ = (
        "freed",
        "key",
        "leases",
        "media_type",
        "owner",
        "references",
        "registered_at",
        "released",
        "size",
        "source",
    )

    def __init__(
        self, key: str, source: Source, size: int, owner: Owner, media_type: str, leases: int
    ) -> None:
        self.key = key
        self.source = source
        self.size = size
        self.owner = owner
        self.media_type = media_type
        self.references = 1
        self.leases = leases
        self.released = False
        self.freed = False
        self.registered_at = time.time()

    def open(self) -> Reader:
        """Open the bytes. They can then be read even when the process that made them has ended.

        Raises:
            BlockNotFound: the bytes are gone already.
            Unavailable: no descriptor is left to open them.
        """
        return self.source.open(self.size)

    def chunks(
        self, start: int = 0, length: int | None = None, *, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[bytes]:
        """`length` bytes from `start` (default: all), `chunk_bytes` at a time (default 128 KiB),
        never past the end. The file is opened when the first chunk is asked for.

        Raises:
            BlockNotFound, Unavailable: as `open`.
            ValueError: `chunk_bytes` is less than 1.
        """
        if chunk_bytes < 1:
            raise ValueError(f"chunk_bytes must be over 0, not {chunk_bytes}")
        end = self.size if length is None else min(self.size, start + max(0, length))
        with closing(self.open()) as reader:
            yield from reader.chunks(max(0, start), end, chunk_bytes=chunk_bytes)

    def info(self) -> FileInfo:
        """What an operator may see of the file."""
        return FileInfo(
            self.key,
            self.size,
            self.media_type,
            self.owner,
            self.references,
            self.leases,
            self.released,
            self.registered_at,
        )
