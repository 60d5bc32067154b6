"""`mpkernel stop [PID]`: see `control`."""

from __future__ import annotations

from collections.abc import Sequence

from mpkernel.cli.control import stop_server
from mpkernel.cli.parsers import CommandParser

__all__ = ["parser", "run"]


def parser() -> CommandParser:
    """Of what follows `mpkernel stop`."""
    made = CommandParser(
        prog="mpkernel stop",
        description="Stop a server after the commands that now run have ended, and wait until it"
        " has stopped.",
        examples={
            "mpkernel stop": "the only server of this user",
            "mpkernel stop 4711 --timeout 10": "this one; exit code 1 if it takes longer",
        },
    )
    made.add_argument(
        "server", type=int, nargs="?", metavar="PID", help="which server, if there are several"
    )
    made.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="how long to wait; default 60"
    )
    made.add_argument("--json", action="store_true", help="for programs (mpkernel docs commands)")
    return made


def run(arguments: Sequence[str]) -> int:
    """Give the order; give the exit code: 1 where the server refuses.

    Args:
        arguments: what follows `mpkernel stop`.

    Raises:
        MPKernelError: as `stop_server`.
    """
    return stop_server("stop", parser().parse_args(arguments))
