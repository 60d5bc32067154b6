"""`mpkernel sessions list` and `forget`: the sessions that servers have stored on the disk."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mpkernel.amounts import age, memory
from mpkernel.cli.named_apps import of_app
from mpkernel.cli.output import as_json, show, show_nothing
from mpkernel.cli.parsers import CommandParser, orders_of, similar, some_text
from mpkernel.cli.screen import Style, screen
from mpkernel.cli.tables import Cell, columns, heads
from mpkernel.errors import MPKernelError
from mpkernel.plain_text import plain
from mpkernel.private_files import session_directory
from mpkernel.reaching import in_words
from mpkernel.server.store.listing import StoredInfo, forget, stored_in

__all__ = ["parser", "run"]

_HEAD = heads("SESSION", "APP", "AGE", "WRITTEN", "SIZE", "STATE")
_STYLES: dict[str, Style] = {"live": "good", "unreadable": "bad"}
_SHOWN_CHARS = 12


def parser() -> CommandParser:
    """Of what follows `mpkernel sessions`."""
    made = CommandParser(
        prog="mpkernel sessions",
        description="The sessions that servers have stored, to bring them back after their end.",
        examples={
            "mpkernel sessions": "those that are stored, the latest first",
            "mpkernel sessions forget 3f2a": "remove one: its page cannot come back",
            "mpkernel sessions forget --app sales.py": "remove all of an app",
        },
    )
    _add_common(made, directory=session_directory(), json=False)
    orders = made.add_subparsers(dest="order", metavar="ORDER")
    listing = orders.add_parser("list", help="show them; the default")
    forgetting = orders.add_parser("forget", help="remove some: they cannot come back")
    forgetting.add_argument(
        "sessions",
        nargs="*",
        type=some_text,
        metavar="SESSION",
        help="as in the list; the beginning is enough",
    )
    forgetting.add_argument(
        "--app", type=some_text, metavar="APP", help="all of this app: a path, or its name alone"
    )
    forgetting.add_argument("--all", action="store_true", help="all")
    for order in (listing, forgetting):
        _add_common(order, directory=argparse.SUPPRESS, json=argparse.SUPPRESS)
    return made


def _add_common(to: argparse.ArgumentParser, *, directory: Path | str, json: bool | str) -> None:
    """Add the options that may stand before an order, and after it.

    Args:
        to: gets the options.
        directory, json: their defaults. After an order, an option that is not given must not
            change what stood before the order: its default is `argparse.SUPPRESS`.
    """
    to.add_argument(
        "--directory",
        type=_directory,
        default=directory,
        help="where they are (setting session_store_directory);"
        f" default: {str(session_directory()).replace('%', '%%')}",
    )
    to.add_argument(
        "--json",
        action="store_true",
        default=json,
        help="for programs (mpkernel docs commands)",
    )


def _directory(text: str) -> Path:
    return Path(some_text(text))


def run(arguments: Sequence[str]) -> int:
    """List the sessions, or remove some; give the exit code.

    Args:
        arguments: what follows `mpkernel sessions`.

    Raises:
        MPKernelError: they cannot be read, or there is no such session.
    """
    reader = parser()
    given = reader.parse_args(arguments)
    is_json = given.json
    found = _found_in(given.directory)
    if given.order == "forget":
        if not (given.sessions or given.app or given.all):
            orders_of(reader)["forget"].error("say which: SESSION, --app APP or --all")
        of_it = [] if given.app is None else of_app(given.app, found, lambda one: one.app)
        chosen = _chosen(found, given.sessions, also=found if given.all else of_it)
        if given.app is not None and not of_it:
            meant = similar(
                os.path.basename(given.app), {os.path.basename(one.app) for one in found}
            )
            print(f"no session is stored of an app {plain(given.app)}{meant}", file=sys.stderr)
        return _forget(chosen, is_json=is_json)
    if is_json:
        print(as_json("sessions list", sessions=[_public(one) for one in found]))
    elif found:
        lines = columns(
            [_HEAD, *map(_row, found)],
            right={2, 3, 4},
            flexible={1},
            omit=(2, 4, 3),
            screen=screen(),
        )
        show(lines, then="mpkernel sessions forget SESSION removes one; --app APP, --all")
    else:
        show_nothing(f"no sessions are stored in {given.directory}")
    return os.EX_OK


def _chosen(
    found: Sequence[StoredInfo], names: Sequence[str], *, also: Sequence[StoredInfo]
) -> list[StoredInfo]:
    chosen: dict[Path, StoredInfo] = {}
    for name in names:
        matching = [one for one in found if one.session.startswith(name)]
        if not matching:
            raise MPKernelError(
                f"no session is stored as {name}", remedy="`mpkernel sessions list` shows them"
            )
        chosen |= {one.info.path: one for one in matching}
    chosen |= {one.info.path: one for one in also}
    return list(chosen.values())


def _forget(chosen: Sequence[StoredInfo], *, is_json: bool) -> int:
    forgotten, live = forget(chosen)
    if is_json:
        names, stay = [one.session for one in forgotten], [one.session for one in live]
        print(as_json("sessions forget", forgotten=names, live=stay))
        return os.EX_OK
    print(f"{len(forgotten)} forgotten")
    if live:
        print(
            f"{len(live)} of them live in a server that runs, and stay: close their pages",
            file=sys.stderr,
        )
    return os.EX_OK


def _found_in(directory: Path) -> list[StoredInfo]:
    try:
        return stored_in(directory)
    except OSError as error:
        raise MPKernelError(f"the sessions cannot be read: {in_words(error)}") from error


def _public(one: StoredInfo) -> dict[str, object]:
    return {name: value for name, value in one._asdict().items() if name != "info"}


def _row(one: StoredInfo) -> tuple[str | Cell, ...]:
    return (
        one.session[:_SHOWN_CHARS],
        plain(os.path.basename(one.app)) or "-",
        age(one.age_s),
        age(one.written_s),
        memory(one.size_bytes),
        Cell(one.state, _STYLES.get(one.state, "")),
    )
