"""`run_each`: several things that must all be done, whatever becomes of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

__all__ = ["run_each"]

logger = logging.getLogger(__name__)


def run_each(steps: Iterable[Callable[[], object]], failure: str) -> None:
    """Call each of these, in order. An exception in one is logged, and the next one is called.

    Args:
        steps: what to call.
        failure: what the log says of one that failed.
    """
    for step in steps:
        try:
            step()
        except Exception:
            logger.exception("%s", failure)
