"""`Store`: the folder of environments.

    KEY/                an environment
    KEY/mpkernel.json   says that it is whole, written last. Its time is when it was last used
    KEY.lock            a lock, by `flock`

Who *makes* or *removes* an environment holds its lock alone. Who *uses* one holds the lock shared
with others. The system gives a lock back when all who hold its descriptor are gone, however they
ended. So the one who makes an environment hands the descriptor on to uv: where it is killed and uv
lives on, nobody else touches what uv still writes to. And a server hands it on to the process of
the app: the environment is in use as long as that process lives.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import msgspec

from mpkernel.errors import SandboxError
from mpkernel.private_files import make_private, sandbox_directory
from mpkernel.sandboxes.lock import Lock

__all__ = ["Environment", "Facts", "Kept", "Store"]

logger = logging.getLogger(__name__)

_WHOLE = "mpkernel.json"
_LOCK_SUFFIX = ".lock"
_LOOK_EVERY_S = 0.05


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is written into an environment that is whole.

    Attributes:
        app: the app for which it was made; others may use it too.
        dependencies: what the header of that app names.
        python: the version of its Python.
        made_at: when, as `time.time`.
    """

    app: str
    dependencies: tuple[str, ...]
    python: str
    made_at: float


_decoder = msgspec.json.Decoder(Facts)


class Environment:
    """An environment that is whole. It is not removed as long as its lock is held.

    Attributes:
        key: the name of its folder.
        folder: absolute path of the folder.
        lock: its lock, held together with others who use it.
    """

    def __init__(self, folder: Path, lock: Lock) -> None:
        self.key = folder.name
        self.folder = folder
        self.lock = lock

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(_python_in(self.folder))

    def close(self) -> None:
        """Use it no more. Processes that were given the lock's descriptor still use it."""
        self.lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An environment in the list of those that are kept.

    Attributes:
        key: the name of its folder.
        facts: what is known of it; None if it is not whole.
        last_used_at: when a process was last started in it, as `time.time`.
        size_bytes: what its files take. Files that other environments share are counted too.
        is_used: whether a process uses it, or makes it.
    """

    key: str
    facts: Facts | None
    last_used_at: float
    size_bytes: int
    is_used: bool


class Store:
    """A folder of environments, which nobody else may enter.

    Args:
        directory: the folder; it is made when it is needed. Default: `sandbox_directory()`.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory if directory is not None else sandbox_directory()

    def find(self, key: str) -> Environment | None:
        """The environment of this key, if it is whole and nobody is changing it. Returns at once.

        Raises:
            SandboxError: the folder cannot be used.
        """
        if not _is_whole(self.folder_of(key)):
            return None
        lock = self.lock(key)
        if lock.try_shared():
            found = self._used(key, lock)
            if found is not None:
                return found
        lock.close()
        return None

    def find_or_lock(
        self, key: str, on_wait: Callable[[], None] = lambda: None
    ) -> Environment | Lock:
        """The environment of this key; or, where it must be made, its lock, held alone. Blocks
        while somebody else makes it.

        Args:
            on_wait: called once, if that is so.

        Raises:
            SandboxError: the folder cannot be used; or the environment is broken, and cannot be
                made anew while processes of others use it.
        """
        lock = self.lock(key)
        has_waited = False
        while True:
            if lock.try_shared():
                found = self._used(key, lock)
                if found is not None:
                    return found
            if lock.try_alone():
                if not _is_whole(self.folder_of(key)):
                    return lock
                continue  # another process has made it in between
            if _facts_in(self.folder_of(key)) is not None and not _is_whole(self.folder_of(key)):
                lock.close()
                raise SandboxError(
                    f"the environment {self.folder_of(key)} has lost its Python, and is in use",
                    remedy="end the servers that use it",
                )
            if not has_waited:
                has_waited = True
                on_wait()
            time.sleep(_LOOK_EVERY_S)

    def finish(self, key: str, facts: Facts, lock: Lock) -> Environment | None:
        """The environment of this key is whole from now on: its maker uses it. None if another
        process has removed it at once.

        Args:
            key: which.
            facts: what is written into it.
            lock: what `find_or_lock` gave.

        Raises:
            OSError: it could not be written down.
        """
        folder = self.folder_of(key)
        unfinished = folder / f".{_WHOLE}"
        unfinished.write_bytes(msgspec.json.encode(facts))
        os.replace(unfinished, folder / _WHOLE)
        # The system gives the lock up before it takes it anew: `prune` may come in between.
        return self._used(key, lock) if lock.try_shared() else None

    def remove(self, key: str) -> None:
        """Remove an environment, whole or not. The caller must hold its lock alone."""
        folder = self.folder_of(key)
        try:
            os.unlink(folder / _WHOLE)  # first: what is left of it is not whole
        except (FileNotFoundError, NotADirectoryError):
            pass
        shutil.rmtree(folder, ignore_errors=True)

    def kept(self) -> list[Kept]:
        """All environments, the last used first.

        Raises:
            OSError: the folder cannot be read.
        """
        found = [self._kept(key) for key in self._keys()]
        return sorted(found, key=lambda one: one.last_used_at, reverse=True)

    def last_used(self, count: int) -> list[Path]:
        """The folders of the environments that are whole and were used last, the last one first.

        Args:
            count: how many, at most.

        Raises:
            OSError: the folder cannot be read.
        """
        found = [folder for key in self._keys() if _is_whole(folder := self.folder_of(key))]
        return sorted(found, key=_last_used_at, reverse=True)[:count]

    def prune(self, *, older_than_s: float) -> list[Kept]:
        """Remove environments, and what is left of broken ones, that no process uses.

        Args:
            older_than_s: only those that no process has been started in for so long.

        Returns:
            Those that were removed.

        Raises:
            SandboxError: the folder cannot be used.
            OSError: it cannot be read.
        """
        removed = []
        for key in self._keys():
            one = self._kept(key)
            if one.facts is not None and time.time() - one.last_used_at < older_than_s:
                continue
            lock = self.lock(key)
            try:
                if lock.try_alone():
                    self.remove(key)
                    lock.remove()
                    if os.path.lexists(folder := self.folder_of(key)):
                        logger.warning("an environment could not be removed whole: %s", folder)
                    else:
                        removed.append(one)
            finally:
                lock.close()
        return removed

    def folder_of(self, key: str) -> Path:
        """Where the environment of this key lies, or would."""
        return self.directory / key

    def python_of(self, key: str) -> Path:
        """The Python of that environment."""
        return _python_in(self.folder_of(key))

    def lock(self, key: str) -> Lock:
        """The lock of this key, not held.

        Raises:
            SandboxError: the folder cannot be used.
        """
        try:
            make_private(self.directory)
            return Lock(self.directory / f"{key}{_LOCK_SUFFIX}")
        except OSError as error:
            raise SandboxError(
                f"no environments can be kept in {self.directory}: {error}",
                remedy="set XDG_CACHE_HOME to a folder of this user",
            ) from error

    def _used(self, key: str, lock: Lock) -> Environment | None:
        folder = self.folder_of(key)
        if not _is_whole(folder):
            return None
        try:
            os.utime(folder / _WHOLE)
        except OSError:
            return None
        return Environment(folder, lock)

    def _keys(self) -> Iterator[str]:
        """Of all folders here. Whatever else lies here, such as the locks, is no environment."""
        try:
            with os.scandir(self.directory) as entries:
                names = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return
        yield from sorted(names)

    def _kept(self, key: str) -> Kept:
        folder = self.folder_of(key)
        lock = self.lock(key)
        try:
            is_used = not lock.try_alone()
        finally:
            lock.close()
        return Kept(
            key=key,
            facts=_facts_in(folder),
            last_used_at=_last_used_at(folder),
            size_bytes=_size_of(folder),
            is_used=is_used,
        )


def _python_in(folder: Path) -> Path:
    return folder / "bin" / "python"


def _is_whole(folder: Path) -> bool:
    """Whether it was made to its end, and the Python from which it was made is still there."""
    return (folder / _WHOLE).exists() and _python_in(folder).exists()


def _facts_in(folder: Path) -> Facts | None:
    try:
        return _decoder.decode((folder / _WHOLE).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def _last_used_at(folder: Path) -> float:
    """0 if it is not whole."""
    try:
        return os.stat(folder / _WHOLE).st_mtime
    except OSError:
        return 0.0


def _size_of(folder: Path) -> int:
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # the environment is being removed
                continue
    return size
