"""`end_within`: ends one part of a program in bounded time, so that the other parts end, too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

__all__ = ["end_within"]

logger = logging.getLogger(__name__)


async def end_within(seconds: float, end: Coroutine[None, None, None], what: str) -> None:
    """Wait until a part of a program has ended. If that fails or takes too long, it is logged.

    Args:
        seconds: how long the end may take.
        end: ends the part.
        what: the name of the part, for the log.
    """
    try:
        async with asyncio.timeout(seconds):
            await end
    except TimeoutError:
        logger.warning("%s did not end within %g s; nobody waits for it any longer", what, seconds)
    except Exception:
        logger.exception("%s could not be ended", what)
