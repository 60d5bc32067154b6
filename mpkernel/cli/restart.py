"""`mpkernel restart APP`: see `control`."""

from __future__ import annotations

from collections.abc import Sequence

from mpkernel.cli.control import order_app
from mpkernel.server.operations.orders import Restart

__all__ = ["run"]

_DOES = "End the processes of an app now. Its sessions come back on a fresh one, with their inputs."


def run(arguments: Sequence[str]) -> int:
    """Give the order; give the exit code: 1 where the server refuses.

    Args:
        arguments: what follows `mpkernel restart`.

    Raises:
        MPKernelError: as `order_app`.
    """
    return order_app("restart", _DOES, Restart, arguments)
