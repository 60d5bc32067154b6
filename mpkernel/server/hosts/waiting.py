"""`wait_over`: waits for the end of several hosts, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mpkernel.server.hosts.host import AppHost

__all__ = ["wait_over"]


async def wait_over(hosts: Sequence[AppHost], seconds: float, at_once: asyncio.Event) -> None:
    """Wait until all have ended.

    Args:
        hosts: which.
        seconds: wait no longer than this.
        at_once: wait no longer when it is set.
    """
    over = asyncio.create_task(_all_over(hosts))
    impatient = asyncio.create_task(at_once.wait())
    try:
        await asyncio.wait((over, impatient), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        impatient.cancel()
        over.cancel()


async def _all_over(hosts: Sequence[AppHost]) -> None:
    for host in hosts:
        await host.wait_over()
