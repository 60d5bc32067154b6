"""Lists the sessions that are stored, whichever server has stored them, and removes some."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mpkernel.server.store.owners import FileInfo, files_of, remove_file
from mpkernel.server.store.records import UnknownVersion, content_of
from mpkernel.server.store.session_file import read_file

__all__ = ["StoredInfo", "forget", "stored_in"]

_MOST_BYTES = 1 << 30


class StoredInfo(NamedTuple):
    """A session that is stored.

    Attributes:
        session: the name of its file. It tells nothing about the session's own name.
        app: absolute path of its app's file; "" if the file cannot be read.
        age_s: since when it is stored.
        written_s: how long ago it was last written.
        size_bytes: of its file.
        state: "live": a server that runs has it; "stored": it can come back; "unreadable".
        info: its file.
    """

    session: str
    app: str
    age_s: float
    written_s: float
    size_bytes: int
    state: str
    info: FileInfo


def stored_in(directory: Path) -> list[StoredInfo]:
    """The sessions that are stored in a directory, the latest first. None where there is no such
    directory.

    Raises:
        OSError: they cannot be read.
    """
    try:
        infos = files_of(directory)
    except FileNotFoundError:
        return []
    return [_read(info) for info in infos]


def forget(chosen: Iterable[StoredInfo]) -> tuple[list[StoredInfo], list[StoredInfo]]:
    """Remove sessions: they cannot come back. Those that live in a server stay. Returns those that
    are removed, and those that stay."""
    fates: dict[bool, list[StoredInfo]] = {True: [], False: []}
    for one in chosen:
        is_live = one.state == "live"
        if not is_live:
            remove_file(one.info)
        fates[is_live].append(one)
    return fates[False], fates[True]


def _read(info: FileInfo) -> StoredInfo:
    now = time.time()
    try:
        content = content_of(read_file(info.path, _MOST_BYTES))
    except (OSError, UnknownVersion):
        content = None
    written_s = now - info.written_at
    name = info.path.name
    if content is None:
        return StoredInfo(name, "", written_s, written_s, info.size, "unreadable", info)
    about = content[0]
    state = "live" if info.is_live else "stored"
    return StoredInfo(name, about.app, now - about.began_at, written_s, info.size, state, info)
