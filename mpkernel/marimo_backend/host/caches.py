"""The files of marimo's caches (`mo.persistent_cache`) in a confined process. Such a process may
not write beside its notebook. So it writes the files to a folder of its own; it reads them there,
and also those that lie beside the notebook already."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mpkernel.marimo_backend import seam

__all__ = ["cache_in"]


def cache_in(folder: str) -> None:
    """Have this process's caches lie in this folder, unless it may write beside the notebook, or
    the notebook names another folder. Call it once."""
    seam.cache_elsewhere(folder)
    store_class = seam.host("FileStore")
    # A marimo that writes to the fallback by itself tells the usual path by another method.
    usual_path = getattr(store_class, "_default_target", store_class._default_save_path)
    get, hit, clear = store_class.get, store_class.hit, store_class.clear

    def own_path(store: Any) -> Path:
        usual: Path = usual_path(store)
        if _can_write_in(usual):
            return usual
        store._beside = _Beside(store_class(str(usual)))
        return Path(folder)

    def own_get(store: Any, key: str) -> bytes | None:
        found: bytes | None = get(store, key)
        if found is None and _lies_beside(store, key):
            found = get(store._beside.store, key)
        return found

    def own_hit(store: Any, key: str) -> bool:
        return hit(store, key) or _lies_beside(store, key)

    def own_clear(store: Any, key: str) -> bool:
        was_there = own_hit(store, key)
        clear(store, key)
        if store._beside is not None:
            store._beside.cleared.add(key)
        return was_there

    def _lies_beside(store: Any, key: str) -> bool:
        beside = store._beside
        return beside is not None and key not in beside.cleared and hit(beside.store, key)

    store_class._beside = None
    store_class._default_save_path = own_path
    store_class.get, store_class.hit, store_class.clear = own_get, own_hit, own_clear


class _Beside:
    """The cache beside the notebook, which can be read only.

    Args:
        store: it.
    """

    def __init__(self, store: Any) -> None:
        self.store = store
        self.cleared: set[str] = set()


def _can_write_in(folder: Path) -> bool:
    """Whether this process can write to a folder. `os.access` does not know what Landlock
    forbids."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
