"""`mpkernel sessions list` and `forget`: the sessions that servers have stored on the disk."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from mpkernel.cli.tables import age, columns, memory, plain
from mpkernel.errors import MPKernelError
from mpkernel.private_files import session_directory
from mpkernel.server.store.owners import FileInfo, files_of, remove_file
from mpkernel.server.store.records import UnknownVersion, content_of
from mpkernel.server.store.session_file import read_file

__all__ = ["run"]

_HEAD = ("SESSION", "APP", "AGE", "WRITTEN", "SIZE", "STATE")
_SHOWN_CHARS = 12
_MOST_BYTES = 1 << 30


class _Stored(NamedTuple):
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


def run(arguments: Sequence[str]) -> int:
    """List the sessions, or remove some; give the exit code.

    Args:
        arguments: what follows `mpkernel sessions`.

    Raises:
        MPKernelError: they cannot be read, or there is no such session.
    """
    parser = argparse.ArgumentParser(
        prog="mpkernel sessions",
        description="The sessions that servers have stored, to bring them back after their end.",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=session_directory(),
        help="where they are (setting session_store_directory); default: %(default)s",
    )
    orders = parser.add_subparsers(dest="order", metavar="ORDER")
    listing = orders.add_parser("list", help="show them; the default")
    listing.add_argument("--json", action="store_true", help="for programs")
    forgetting = orders.add_parser("forget", help="remove some: they cannot come back")
    forgetting.add_argument(
        "sessions", nargs="*", metavar="SESSION", help="as in the list; the beginning is enough"
    )
    forgetting.add_argument("--app", metavar="NAME", help="all of this app")
    forgetting.add_argument("--all", action="store_true", help="all")
    given = parser.parse_args(arguments)
    found = _found_in(given.directory)
    if given.order == "forget":
        if not (given.sessions or given.app or given.all):
            forgetting.error("say which: SESSION, --app NAME or --all")
        return _forget(found, given.sessions, app=given.app, everything=given.all)
    if getattr(given, "json", False):
        print(msgspec.json.format(msgspec.json.encode([_public(one) for one in found])).decode())
    elif found:
        print("\n".join(columns([_HEAD, *map(_row, found)], right=frozenset({2, 3, 4}))))
    else:
        print(f"no sessions are stored in {given.directory}", file=sys.stderr)
    return os.EX_OK


def _forget(
    found: Sequence[_Stored], names: Sequence[str], *, app: str | None, everything: bool
) -> int:
    chosen: dict[Path, _Stored] = {}
    for name in names:
        matching = [one for one in found if one.session.startswith(name)]
        if not matching:
            raise MPKernelError(
                f"no session is stored as {name}", remedy="`mpkernel sessions list` shows them"
            )
        chosen |= {one.info.path: one for one in matching}
    chosen |= {
        one.info.path: one
        for one in found
        if everything or (app is not None and app in (one.app, os.path.basename(one.app)))
    }
    live = [one for one in chosen.values() if one.state == "live"]
    for one in chosen.values():
        if one.state != "live":
            remove_file(one.info)
    print(f"{len(chosen) - len(live)} forgotten")
    if live:
        print(
            f"{len(live)} of them live in a server that runs, and stay: close their pages",
            file=sys.stderr,
        )
    return os.EX_OK


def _found_in(directory: Path) -> list[_Stored]:
    """The latest first."""
    try:
        infos = files_of(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MPKernelError(f"the sessions cannot be read: {error}") from error
    return [_read(info) for info in infos]


def _read(info: FileInfo) -> _Stored:
    now = time.time()
    try:
        content = content_of(read_file(info.path, _MOST_BYTES))
    except (OSError, UnknownVersion):
        content = None
    written_s = now - info.written_at
    name = info.path.name
    if content is None:
        return _Stored(name, "", written_s, written_s, info.size, "unreadable", info)
    about = content[0]
    state = "live" if info.is_live else "stored"
    return _Stored(name, about.app, now - about.began_at, written_s, info.size, state, info)


def _public(one: _Stored) -> dict[str, object]:
    return {name: value for name, value in one._asdict().items() if name != "info"}


def _row(one: _Stored) -> tuple[str, ...]:
    return (
        one.session[:_SHOWN_CHARS],
        plain(os.path.basename(one.app)) or "-",
        age(one.age_s),
        age(one.written_s),
        memory(one.size_bytes),
        one.state,
    )
