"""`end_within`: one part of an end, which keeps no other part from ending."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

__all__ = ["end_within"]

logger = logging.getLogger(__name__)


async def end_within(seconds: float, end: Coroutine[None, None, None], what: str) -> None:
    """Wait for an end. What goes wrong in it, or takes longer, is logged.

    Args:
        seconds: how long it may take.
        end: what is waited for.
        what: what ends, for the log.
    """
    try:
        async with asyncio.timeout(seconds):
            await end
    except TimeoutError:
        logger.warning("%s did not end within %g s, and is left", what, seconds)
    except Exception:
        logger.exception("%s could not be ended", what)
