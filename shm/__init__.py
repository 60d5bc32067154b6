"""Virtual files in shared memory: a package of its own, which knows nothing of mpkernel.

    VirtualFile ─▶ storage ─▶ Registry   which files there are, whose, who still reads them
                      │
                      ├─▶ Recycler ─▶ Block   shared memory, used again when nobody reads it
                      └─▶ fallback            temporary files

`files` gives bytes a URL, and frees them when no object shows them any more. `storage` keeps the
bytes. `registry` knows which files may be read and when their bytes can be freed; `entries` is what
it keeps of each file. `recycler` hands out blocks, `blocks` makes, writes and reads them. The name
of a block says which process made it (`names`), and `sweeping` removes what dead processes left.

    storage = shm.SharedMemoryStorage()
    file = shm.VirtualFile.create_and_register(png, storage=storage, media_type="image/png")

The public names are loaded when they are first used: every app host needs `names`, and few need the
rest at their start.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shm.blocks import AttachedBlock, Block, read_chunks
    from shm.entries import Entry, FileInfo, Owner, new_key
    from shm.errors import (
        BlockNotFound,
        KeyTaken,
        NoSpace,
        NotOwner,
        QuotaExceeded,
        ShmError,
        Unavailable,
    )
    from shm.files import VirtualFile
    from shm.recycler import Recycler
    from shm.registry import Registry, Snapshot
    from shm.sources import Reader, Source
    from shm.storage import (
        InMemoryStorage,
        RegisteredStorage,
        SharedMemoryStorage,
        StorageKind,
        TempFileStorage,
        VirtualFileStorage,
        create_storage,
    )
    from shm.sweeping import Swept, sweep

__all__ = [
    "AttachedBlock",
    "Block",
    "BlockNotFound",
    "Entry",
    "FileInfo",
    "InMemoryStorage",
    "KeyTaken",
    "NoSpace",
    "NotOwner",
    "Owner",
    "QuotaExceeded",
    "Reader",
    "Recycler",
    "RegisteredStorage",
    "Registry",
    "SharedMemoryStorage",
    "ShmError",
    "Snapshot",
    "Source",
    "StorageKind",
    "Swept",
    "TempFileStorage",
    "Unavailable",
    "VirtualFile",
    "VirtualFileStorage",
    "create_storage",
    "new_key",
    "read_chunks",
    "sweep",
]

_HOMES = {
    "AttachedBlock": "shm.blocks",
    "Block": "shm.blocks",
    "BlockNotFound": "shm.errors",
    "Entry": "shm.entries",
    "FileInfo": "shm.entries",
    "InMemoryStorage": "shm.storage",
    "KeyTaken": "shm.errors",
    "NoSpace": "shm.errors",
    "NotOwner": "shm.errors",
    "Owner": "shm.entries",
    "QuotaExceeded": "shm.errors",
    "Reader": "shm.sources",
    "Recycler": "shm.recycler",
    "RegisteredStorage": "shm.storage",
    "Registry": "shm.registry",
    "SharedMemoryStorage": "shm.storage",
    "ShmError": "shm.errors",
    "Snapshot": "shm.registry",
    "Source": "shm.sources",
    "StorageKind": "shm.storage",
    "Swept": "shm.sweeping",
    "TempFileStorage": "shm.storage",
    "Unavailable": "shm.errors",
    "VirtualFile": "shm.files",
    "VirtualFileStorage": "shm.storage",
    "create_storage": "shm.storage",
    "new_key": "shm.entries",
    "read_chunks": "shm.blocks",
    "sweep": "shm.sweeping",
}


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'shm' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
