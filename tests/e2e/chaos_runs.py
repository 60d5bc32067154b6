"""What a run of chaos on this machine and one on a cluster share: the notebook, the seed of all
choices, and what must be gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import psutil
from descendants import command_of
from e2e.harness import Server
from waiting import PATIENCE_S

__all__ = ["NOTEBOOK", "SEED", "settled", "what_is_left"]

NOTEBOOK = Path(__file__).with_name("notebooks") / "chaos.py"
SEED = int(os.environ.get("MPKERNEL_TEST_CHAOS_SEED", "0")) or random.SystemRandom().randrange(
    1, 2**32
)


async def settled(look: Callable[[], list[object]]) -> None:
    """Wait until a look finds nothing that is left."""
    left: list[object] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while left := await asyncio.to_thread(look):
                await asyncio.sleep(0.1)
    assert not left, f"left: {left}"


def what_is_left(server: Server, descriptors: int) -> list[object]:
    """What a server has more than before its first tab, in words. One app host may be a standby."""
    commands = [command_of(process) for process in server.descendants()]
    hosts = [command for command in commands if "spawn_main" in command]
    left = [*hosts[1:], *(command for command in commands if command.startswith("sleep"))]
    if (now := psutil.Process(server.pid).num_fds()) > descriptors + 16:
        left.append(f"{now} descriptors, where there were {descriptors}")
    return left
