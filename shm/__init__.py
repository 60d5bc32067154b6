"""Virtual files in shared memory: a package of its own, which knows nothing of mpkernel.

    VirtualFile ─▶ storage ─▶ Registry   which files there are, whose, who still reads them
                      │
                      ├─▶ Recycler ─▶ Block   shared memory, used again when nobody reads it
                      └─▶ fallback            temporary files

`files` gives bytes a URL, and frees them when no object shows them any more. `storage` keeps the
bytes. `registry` knows which files may be read and when their bytes can be freed; `entries` is what
it keeps of each file. `recycler` hands out blocks, `blocks` makes, writes and reads them. The name
of a block says which process made it (`names`), and `sweep` removes what dead processes left.

    storage = shm.SharedMemoryStorage()
    file = shm.VirtualFile.create_and_register(png, storage=storage, media_type="image/png")
"""

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
from shm.sweep import Swept, sweep

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
