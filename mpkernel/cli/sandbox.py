"""`mpkernel sandbox list | prune`: the environments that `--sandbox` has made for apps."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence

from mpkernel.amounts import age, memory
from mpkernel.cli.output import as_json, show, show_nothing
from mpkernel.cli.parsers import CommandParser
from mpkernel.cli.screen import screen
from mpkernel.cli.tables import Cell, columns, heads
from mpkernel.errors import MPKernelError
from mpkernel.plain_text import plain
from mpkernel.private_files import sandbox_directory
from mpkernel.reaching import in_words
from mpkernel.sandboxes import Kept, Store

__all__ = ["parser", "run"]

_HEAD = heads("ENVIRONMENT", "APP", "PYTHON", "LAST USED", "SIZE", "PACKAGES")
_UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_AGE = re.compile(r"(\d+(?:\.\d+)?)(s|min|h|d)")
_DEFAULT_AGE = "30d"
_JSON = "for programs (mpkernel docs commands)"


def parser() -> CommandParser:
    """Of what follows `mpkernel sandbox`."""
    made = CommandParser(
        prog="mpkernel sandbox",
        description=f"The environments of apps in {sandbox_directory()}, which --sandbox has made.",
        examples={
            "mpkernel sandbox list": "the environments, the last used first",
            "mpkernel sandbox prune": f"remove what was not used for {_DEFAULT_AGE}",
            "mpkernel sandbox prune --older-than 0d": "remove all that no app uses now",
        },
    )
    made.add_argument("--json", action="store_true", help=_JSON)
    orders = made.add_subparsers(dest="order", metavar="ORDER")
    lister = orders.add_parser("list", help="show them, the last used first; the default")
    pruner = orders.add_parser(
        "prune", help="remove those that no app uses, and that none has used for long"
    )
    pruner.add_argument(
        "--older-than",
        metavar="AGE",
        type=_seconds,
        default=_DEFAULT_AGE,
        help=f"for how long, as in 12h or 30d (default {_DEFAULT_AGE}; 0d: all that no app uses)",
    )
    for order in (lister, pruner):
        order.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=_JSON)
    return made


def run(arguments: Sequence[str]) -> int:
    """List the environments, or remove those that were not used for a long time; give the exit
    code.

    Args:
        arguments: what follows `mpkernel sandbox`.

    Raises:
        MPKernelError: the folder of environments cannot be read.
    """
    given = parser().parse_args(arguments)
    is_json = given.json
    store = Store()
    try:
        if given.order == "prune":
            _prune(store, given.older_than, is_json=is_json)
        else:
            _list(store, is_json=is_json)
    except OSError as error:
        raise MPKernelError(f"the environments cannot be read: {in_words(error)}") from error
    return os.EX_OK


def _list(store: Store, *, is_json: bool) -> None:
    kept = store.kept()
    if is_json:
        print(as_json("sandbox list", environments=kept))
    elif kept:
        lines = columns(
            [_HEAD, *map(_row, kept)], right={4}, flexible={1, 5}, omit=(2, 4), screen=screen()
        )
        show(lines, then="mpkernel sandbox prune removes what no app has used for long")
    else:
        show_nothing(
            f"no environments in {store.directory}",
            then="mpkernel run --sandbox PATH makes one for each notebook that names its packages",
        )


def _prune(store: Store, older_than_s: float, *, is_json: bool) -> None:
    removed = store.prune(older_than_s=older_than_s)
    if is_json:
        print(as_json("sandbox prune", removed=removed))
        return
    for one in removed:
        print(f"removed {one.key}, {memory(one.size_bytes)}")
    if not removed:
        print("nothing to remove", file=sys.stderr)


def _row(one: Kept) -> tuple[str | Cell, ...]:
    facts = one.facts
    if facts is None:
        state = "is being made" if one.is_used else "is not whole"
        return (one.key, "-", "-", Cell(state, "attention"), memory(one.size_bytes), "-")
    return (
        one.key,
        plain(os.path.basename(facts.app)),
        facts.python,
        Cell("now", "good") if one.is_used else f"{age(time.time() - one.last_used_at)} ago",
        memory(one.size_bytes),
        plain(", ".join(facts.dependencies)) or "-",
    )


def _seconds(text: str) -> float:
    found = _AGE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an age such as 90s, 30min, 12h or 30d")
    return float(found[1]) * _UNITS_S[found[2]]
