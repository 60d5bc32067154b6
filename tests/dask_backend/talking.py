"""Asks the kernel of a session."""

from __future__ import annotations

import asyncio

from waiting import PATIENCE_S

from mpkernel.client.python_client import PythonClient
from mpkernel.kernel.messages import Console, Done, Message

__all__ = ["printed", "said"]


async def said(client: PythonClient, kind: type[Message], cell: str | None = None) -> list[Message]:
    """What comes until a message of this kind, which is the last.

    Args:
        client: to whom.
        kind: which kind.
        cell: of which cell. Default: whatever it is about.
    """
    found = []
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found.append(await client.next())
            if isinstance(found[-1], kind) and cell in (None, getattr(found[-1], "cell", None)):
                return found


async def printed(client: PythonClient, code: str) -> str:
    """What the code prints."""
    client.execute(code, cell="asked")
    said_since = await said(client, Done, "asked")
    return "".join(one.text for one in said_since if isinstance(one, Console))
