"""`mpkernel drain APP`: see `control`."""

from __future__ import annotations

from collections.abc import Sequence

from mpkernel.cli.control import order_app
from mpkernel.server.operations.orders import Drain

__all__ = ["run"]

_DOES = (
    "Have an app's new sessions get a fresh process; the present one ends with its last session."
)


def run(arguments: Sequence[str]) -> int:
    """Give the order; give the exit code: 1 where the server refuses.

    Args:
        arguments: what follows `mpkernel drain`.

    Raises:
        MPKernelError: as `order_app`.
    """
    return order_app("drain", _DOES, Drain, arguments)
