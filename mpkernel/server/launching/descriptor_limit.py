"""The limit on open descriptors: a server may raise its own, and its apps get the one from before.

The soft limit is often 1024, for programs that use `select()`, which knows no descriptor beyond.
A server does not use it, and needs about seven for each app. What apps run may well be such a
program.
"""

from __future__ import annotations

import resource

from mpkernel.logs import get_logger

__all__ = ["limit_of_apps", "raise_limit"]

logger = get_logger(__name__)

_before: int | None = None  # as it would be without `raise_limit`


def raise_limit(*, of_apps: int) -> None:
    """Raise this process's soft limit to its hard one. Where that is refused it stays, with a line
    in the log. For a whole program to decide, not for a pool in it.

    Args:
        of_apps: what an app's limit is raised to, if it is lower and that is allowed.
    """
    global _before
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS takes no "unlimited"
        logger.info("the soft limit on descriptors stays at %d: %s", soft, error)
        return
    _before = of_apps if soft < of_apps <= hard else soft


def limit_of_apps() -> int | None:
    """The soft limit that an app's process is to have; None for this process's own."""
    return _before
