"""`mpkernel drain APP`: see `control`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mpkernel.cli.control import order_app
from mpkernel.server.operations.orders import Drain

__all__ = ["run"]

_DOES = (
    "Have an app's new sessions get a fresh process; each present one ends with its last session."
)


def run(arguments: Sequence[str]) -> int:
    """Give the order; give the exit code: 1 where the server refuses.

    Args:
        arguments: what follows `mpkernel drain`.

    Raises:
        MPKernelError: as `order_app`.
    """
    return order_app("drain", _DOES, _order, arguments, _add_flags)


def _order(app: str, given: argparse.Namespace) -> Drain:
    return Drain(app, process=given.process)


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--process", type=int, metavar="PID", help="this process of the app alone")
