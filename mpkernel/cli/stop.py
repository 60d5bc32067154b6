"""`mpkernel stop [PID]`: see `control`."""

from __future__ import annotations

from collections.abc import Sequence

from mpkernel.cli.control import stop_server

__all__ = ["run"]

_DOES = "Stop a server after the commands that now run have ended, and wait until it has stopped."


def run(arguments: Sequence[str]) -> int:
    """Give the order; give the exit code: 1 where the server refuses.

    Args:
        arguments: what follows `mpkernel stop`.

    Raises:
        MPKernelError: as `stop_server`.
    """
    return stop_server("stop", _DOES, arguments)
