"""The folders of a confined process. Its server makes and removes them, because the process itself
may not change the folder in which they lie.

Their names say which process they are for, as the names of blocks do. So if this server is killed,
the next one recognizes and removes them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Self

from mpkernel.errors import HostStartError
from mpkernel.server.launching.wrapping import make_files_folder
from mpkernel.settings import Settings
from mpkernel.wire.confinement import Confinement
from shm.names import ProcessTag, tag_of

__all__ = ["PrivateFolders", "confinement_elsewhere", "confinement_of"]


class PrivateFolders(NamedTuple):
    """The folders (mode 0700) of one process.

    Attributes:
        home: for temporary files, caches and settings.
        files: for virtual files. The first is in memory if they are to lie in shared memory and
            that is a file system here; a second one is for those that have no room there.
    """

    home: str
    files: tuple[str, ...]

    @classmethod
    def make(
        cls,
        name: str,
        pid: int,
        storage: Literal["shared_memory", "temp_file"] | None,
        fallback: Literal["temp_file"] | None,
        *,
        with_files: bool,
    ) -> Self:
        """Make those of a process that was launched.

        Args:
            name: what runs in it, for the error.
            pid: its process id, or that of a process which lives as long as it.
            storage, fallback: see the settings `file_storage` and `file_fallback`.
            with_files: whether it needs a folder for virtual files.

        Raises:
            HostStartError: they cannot be made.
        """
        owner = tag_of(pid)
        made: list[str] = []
        try:
            made.append(tempfile.mkdtemp(prefix=owner.prefix))
            if with_files:
                for folder in _folders_of_files(owner, storage, fallback):
                    made.append(folder)  # one after another, because the next call may fail
        except OSError as error:
            for folder in made:
                os.rmdir(folder)
            raise HostStartError(
                f"no folder of its own can be made for {name}: {error}",
                remedy="make room there, or set TMPDIR to a folder that this user may write to",
            ) from error
        home, *files = made
        return cls(home, tuple(files))

    def remove(self) -> None:
        """Remove all, with what they hold. Idempotent."""
        for folder in (self.home, *self.files):
            shutil.rmtree(folder, ignore_errors=True)


def _folders_of_files(
    owner: ProcessTag,
    storage: Literal["shared_memory", "temp_file"] | None,
    fallback: Literal["temp_file"] | None,
) -> Iterator[str]:
    """Make the folders one after another: an error may come when the first one is made already."""
    first = make_files_folder(owner, storage, fallback)
    if first is None:
        return
    yield first
    if os.path.dirname(first) != tempfile.gettempdir() and fallback is not None:
        yield tempfile.mkdtemp(prefix=owner.prefix)


def confinement_of(
    settings: Settings,
    app: str,
    import_folders: Sequence[str],
    home: str,
    files: Sequence[str],
) -> Confinement:
    """What a process of a confined app may do.

    Args:
        settings: the app's; `confine` is not "off".
        app: absolute path of its file.
        import_folders: from which it imports, beside its own.
        home, files: see `Confinement`.
    """
    assert settings.confine != "off"
    own = dict.fromkeys((os.path.dirname(app), os.path.dirname(os.path.realpath(app))))
    return Confinement(
        level=settings.confine,
        read=[*own, *import_folders, *map(os.path.expanduser, settings.confine_read)],
        write=[os.path.expanduser(path) for path in settings.confine_write],
        connect=list(settings.confine_connect),
        home=home,
        files=list(files),
    )


def confinement_elsewhere(settings: Settings, import_folders: Sequence[str]) -> Confinement:
    """What a process of a confined app may do on another machine, where the paths are looked up;
    see `Confinement.home`.

    Args:
        settings, import_folders: see `confinement_of`.
    """
    assert settings.confine != "off"
    return Confinement(
        level=settings.confine,
        read=[*import_folders, *settings.confine_read],
        write=list(settings.confine_write),
        connect=list(settings.confine_connect),
        home="",
        files=[],
    )
