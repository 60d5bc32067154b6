"""`run_each`: several steps that must all be done, even if one of them fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

__all__ = ["run_each"]

logger = logging.getLogger(__name__)


def run_each(steps: Iterable[Callable[[], object]], failure: str) -> None:
    """Call each of these, in order. An exception in one is logged, and the next one is called.

    Args:
        steps: what to call.
        failure: the message that is logged for a step that failed.
    """
    for step in steps:
        try:
            step()
        except Exception:
            logger.exception("%s", failure)
