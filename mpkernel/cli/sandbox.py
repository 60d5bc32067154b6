"""`mpkernel sandbox list | prune`: the environments that `--sandbox` has made for apps."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence

import msgspec

from mpkernel.cli.tables import age, columns, memory, plain
from mpkernel.errors import MPKernelError
from mpkernel.sandboxes import Kept, Store

__all__ = ["run"]

_HEAD = ("ENVIRONMENT", "APP", "PYTHON", "LAST USED", "SIZE", "PACKAGES")
_UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_AGE = re.compile(r"(\d+(?:\.\d+)?)(s|min|h|d)")
_DEFAULT_AGE = "30d"


def run(arguments: Sequence[str]) -> int:
    """List the environments, or remove those that were not used for long; give the exit code.

    Args:
        arguments: what follows `mpkernel sandbox`.

    Raises:
        MPKernelError: the folder of environments cannot be read.
    """
    store = Store()
    parser = argparse.ArgumentParser(
        prog="mpkernel sandbox",
        description=f"The environments of apps in {store.directory}, which --sandbox has made.",
    )
    orders = parser.add_subparsers(dest="order", required=True)
    lister = orders.add_parser("list", help="show them, the last used first")
    lister.add_argument("--json", action="store_true", help="for programs")
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
    given = parser.parse_args(arguments)
    try:
        if given.order == "prune":
            _prune(store, given.older_than)
        else:
            _list(store, as_json=given.json)
    except OSError as error:
        raise MPKernelError(f"{store.directory} cannot be read: {error}") from error
    return os.EX_OK


def _list(store: Store, *, as_json: bool) -> None:
    kept = store.kept()
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(kept)).decode())
    elif kept:
        print("\n".join(columns([_HEAD, *map(_row, kept)], right=frozenset({4}))))
    else:
        print(f"no environments in {store.directory}", file=sys.stderr)


def _prune(store: Store, older_than_s: float) -> None:
    removed = store.prune(older_than_s=older_than_s)
    for one in removed:
        print(f"removed {one.key}, {memory(one.size_bytes)}")
    if not removed:
        print("nothing to remove", file=sys.stderr)


def _row(one: Kept) -> tuple[str, ...]:
    facts = one.facts
    if facts is None:
        state = "is being made" if one.is_used else "is not whole"
        return (one.key, "-", "-", state, memory(one.size_bytes), "-")
    return (
        one.key,
        plain(os.path.basename(facts.app)),
        facts.python,
        "now" if one.is_used else f"{age(time.time() - one.last_used_at)} ago",
        memory(one.size_bytes),
        plain(", ".join(facts.dependencies)) or "-",
    )


def _seconds(text: str) -> float:
    found = _AGE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an age such as 90s, 30min, 12h or 30d")
    return float(found[1]) * _UNITS_S[found[2]]
