"""Whether the environment says that mpkernel must leave marimo alone. Imports nothing of marimo."""

from __future__ import annotations

import os

from mpkernel.errors import MPKernelError

__all__ = ["check_enabled", "is_disabled"]


def is_disabled() -> bool:
    """Whether the environment says that mpkernel must not change marimo."""
    return os.environ.get("MPKERNEL_DISABLE", "") not in ("", "0")


def check_enabled(*, instead: str) -> None:
    """Refuse to serve where the environment forbids to change marimo.

    Args:
        instead: what serves without mpkernel; named in the error.

    Raises:
        MPKernelError: the environment forbids it.
    """
    if is_disabled():
        raise MPKernelError(
            "MPKERNEL_DISABLE is set, so that mpkernel must leave marimo alone",
            remedy=f"unset it, or use {instead}",
        )
