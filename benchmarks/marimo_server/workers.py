"""A server of several processes on one port, and which of them accepts a connection."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator

import httpx
import psutil

from .process import Server
from .tab import Tab

__all__ = ["client_of", "connect_through", "only", "workers_of"]

_PATIENCE_S = 20.0
_STEP_S = 0.01


def workers_of(server: Server) -> list[psutil.Process]:
    """The processes of a server that was started as several."""
    found = psutil.Process(server.pid).children()
    living = [one for one in found if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in living if "resource_tracker" not in " ".join(one.cmdline())]


@contextlib.contextmanager
def only(worker: psutil.Process, server: Server) -> Iterator[None]:
    """No other process of the server accepts a connection, or does anything else, meanwhile."""
    others = [one for one in workers_of(server) if one != worker]
    for other in others:
        other.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for other in others:
            other.send_signal(signal.SIGCONT)


@contextlib.asynccontextmanager
async def client_of(worker: psutil.Process, server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose one connection this process has accepted. It stays as long as the server
    keeps idle connections."""
    limits = httpx.Limits(max_connections=1, keepalive_expiry=None)
    async with httpx.AsyncClient(timeout=30, limits=limits, trust_env=False) as client:
        with only(worker, server):
            await client.get(f"{server.url}/health")
        yield client


async def connect_through(worker: psutil.Process, server: Server, tab: Tab) -> None:
    """Open a tab so that this process accepts its connection."""
    await tab.load()
    before = len(worker.net_connections("tcp"))
    with only(worker, server):
        opening = asyncio.create_task(tab.open())
        async with asyncio.timeout(_PATIENCE_S):
            while len(worker.net_connections("tcp")) == before:
                await asyncio.sleep(_STEP_S)
    await opening
