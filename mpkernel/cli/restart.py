"""`mpkernel restart APP`: see `control`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mpkernel.cli.control import order_app
from mpkernel.server.operations.orders import Restart

__all__ = ["run"]

_DOES = "End the processes of an app now. Its sessions come back on others, with their inputs."


def run(arguments: Sequence[str]) -> int:
    """Give the order; give the exit code: 1 where the server refuses.

    Args:
        arguments: what follows `mpkernel restart`.

    Raises:
        MPKernelError: as `order_app`.
    """
    return order_app("restart", _DOES, _order, arguments, _add_flags)


def _order(app: str, given: argparse.Namespace) -> Restart:
    return Restart(app, process=given.process, rolling=given.rolling)


def _add_flags(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--rolling",
        action="store_true",
        help="one process after another, each when a fresh one is ready",
    )
    which.add_argument("--process", type=int, metavar="PID", help="this process of the app alone")
