"""`mpkernel drain APP`: see `control`."""

from __future__ import annotations

from collections.abc import Sequence

from mpkernel.cli.control import app_parser, order_app, this_user
from mpkernel.cli.parsers import CommandParser
from mpkernel.server.operations.orders import Drain

__all__ = ["parser", "run"]


def parser() -> CommandParser:
    """Of what follows `mpkernel drain`."""
    made = app_parser(
        "drain",
        "Have an app's new sessions get a fresh process; each present one ends with its last"
        " session.",
        {
            "mpkernel drain sales.py": "after a change of the notebook: nobody loses anything",
            "mpkernel drain sales.py --process 4711": "this process of the app alone",
        },
    )
    made.add_argument("--process", type=int, metavar="PID", help="this process of the app alone")
    return made


def run(arguments: Sequence[str]) -> int:
    """Give the order; give the exit code: 1 where the server refuses.

    Args:
        arguments: what follows `mpkernel drain`.

    Raises:
        MPKernelError: as `order_app`.
    """
    given = parser().parse_args(arguments)
    return order_app("drain", given, lambda app: Drain(app, process=given.process, who=this_user()))
