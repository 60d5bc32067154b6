"""The limit on open descriptors: a server may raise its own; its apps get the limit from before.

The soft limit is often 1024. This protects programs that use `select()`, which cannot handle larger
descriptors. A server does not use `select()`, and needs about seven descriptors for each app. But
an app may use it, or start a program that does.
"""

from __future__ import annotations

import resource

from mpkernel.logs import get_logger

__all__ = ["limit_of_apps", "raise_limit"]

logger = get_logger(__name__)

_before: int | None = None  # the soft limit for apps; None while `raise_limit` has changed nothing


def raise_limit(*, of_apps: int) -> None:
    """Raise this process's soft limit to its hard one. If the system refuses that, the limit stays,
    and the log says so. This is for a program to call, not for a pool in it.

    Args:
        of_apps: the limit of an app is raised to this, if it is lower and the hard limit allows it.
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
