"""`VirtualFile`: bytes with a URL, for as long as something shows them."""

from __future__ import annotations

import base64
import weakref
from typing import TYPE_CHECKING

from shm.entries import Owner, check_media_type, new_key
from shm.storage import DEFAULT_MEDIA_TYPE, RegisteredStorage, view_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["VirtualFile"]


class VirtualFile:
    """A file that a client can fetch.

    It exists as long as this object, or any object that it is bound to (`bind`). When the last of
    them is gone, its bytes are freed.

    Attributes:
        key: the key that it is registered under; empty for a data URL.
        url: where a client finds it: "@file/<size>-<key>" relative to its server, or a data URL.
        size: in bytes.
        media_type: its MIME type.
    """

    __slots__ = ("__weakref__", "_storage", "key", "media_type", "size", "url")

    def __init__(
        self, key: str, url: str, size: int, media_type: str, storage: RegisteredStorage | None
    ) -> None:
        self.key = key
        self.url = url
        self.size = size
        self.media_type = media_type
        self._storage = storage

    @classmethod
    def create_and_register(
        cls,
        buffer: Buffer,
        *,
        storage: RegisteredStorage | None,
        media_type: str = DEFAULT_MEDIA_TYPE,
        extension: str = "",
        owner: Owner | None = None,
    ) -> VirtualFile:
        """Store a copy of the bytes. An empty file, and any file without a storage, becomes a data
        URL.

        Args:
            buffer: any object with bytes; not `str`.
            storage: where to store them; None for a data URL.
            media_type: the MIME type. Default "application/octet-stream".
            extension: the key ends with a dot and this. Default: the key has no extension.
            owner: the owner. Default: this process.

        Raises:
            As `RegisteredStorage.store`.
        """
        check_media_type(media_type)
        with view_of(buffer) as data:
            size = len(data)
            if storage is None or not size:
                encoded = base64.b64encode(data).decode()
                return cls("", f"data:{media_type};base64,{encoded}", size, media_type, None)
            key = new_key(extension)
            storage.store(key, data, owner=owner, media_type=media_type)
        file = cls(key, f"@file/{size}-{key}", size, media_type, storage)
        weakref.finalize(file, storage.registry.dereference, key).atexit = False
        return file

    def bind(self, holder: object) -> None:
        """Keep the file as long as `holder` exists, an object that shows it.

        Raises:
            TypeError: `holder` cannot be weakly referenced.
            KeyError: the file was removed.
        """
        if self._storage is None:
            return
        registry, key = self._storage.registry, self.key
        ended = weakref.finalize(holder, registry.dereference, key)
        ended.atexit = False
        try:
            registry.reference(key)
        except KeyError:
            ended.detach()
            raise

    def read(self) -> bytes:
        """All its bytes.

        Raises:
            KeyError: the file was removed.
        """
        if self._storage is None:
            return base64.b64decode(self.url.rpartition(",")[2])
        return self._storage.read(self.key, self.size)

    def __repr__(self) -> str:
        return f"<VirtualFile {self.key or 'data URL'} {self.size} bytes {self.media_type}>"
