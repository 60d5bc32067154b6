"""`mpkernel restart APP`: see `control`."""

from __future__ import annotations

from collections.abc import Sequence

from mpkernel.cli.control import app_parser, order_app, this_user
from mpkernel.cli.parsers import CommandParser
from mpkernel.server.operations.orders import Restart

__all__ = ["parser", "run"]


def parser() -> CommandParser:
    """Of what follows `mpkernel restart`."""
    made = app_parser(
        "restart",
        "End the processes of an app now. Its sessions come back on others, with their inputs.",
        {
            "mpkernel restart sales.py": "end all its processes now",
            "mpkernel restart sales.py --rolling": "one after another, when a fresh one is ready",
        },
    )
    which = made.add_mutually_exclusive_group()
    which.add_argument(
        "--rolling",
        action="store_true",
        help="one process after another, each when a fresh one is ready",
    )
    which.add_argument("--process", type=int, metavar="PID", help="this process of the app alone")
    return made


def run(arguments: Sequence[str]) -> int:
    """Give the order; give the exit code: 1 where the server refuses.

    Args:
        arguments: what follows `mpkernel restart`.

    Raises:
        MPKernelError: as `order_app`.
    """
    given = parser().parse_args(arguments)
    return order_app(
        "restart",
        given,
        lambda app: Restart(app, process=given.process, rolling=given.rolling, who=this_user()),
    )
