"""`tried`: asks each worker of a cluster what it has, and starts a process on it, for `mpkernel
doctor`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from mpkernel.aio.loops import run
from mpkernel.aio.threads import off_the_loop
from mpkernel.dask_backend.clients import ClientOf
from mpkernel.dask_backend.launcher import DaskLauncher
from mpkernel.dask_backend.lease import check_versions, versions
from mpkernel.doctor.abilities import Abilities, abilities_of_worker
from mpkernel.doctor.cluster import TriedCluster, TriedWorker
from mpkernel.errors import ClusterError, HostStartError, ProtocolError
from mpkernel.server.launching.process import Process, ProcessToLaunch
from mpkernel.server.links.link import LinkEvents
from mpkernel.settings import Settings
from mpkernel.wire.before_host import NotPlaced, Prepared
from mpkernel.wire.frames import Channel, Frame
from mpkernel.wire.messages import Warm, Warmed, decode_up, encode

__all__ = ["tried"]

_NAME = "mpkernel doctor"
_MODULE = "mpkernel.doctor.echo"
_ASKED_S = 10.0
_LOOKED_S = 30.0
"""How long a worker may take to look what its machine has: it starts processes for that."""
_STARTED_S = 30.0
_AT_ONCE = 8

T = TypeVar("T")


def tried(address: str) -> TriedCluster:
    """Ask each worker what it has, and start a process on each that has what this machine has.

    Args:
        address: see the setting `cluster`.
    """
    return run(_tried(address))


async def _tried(address: str) -> TriedCluster:
    source = ClientOf(address)
    some = asyncio.Semaphore(_AT_ONCE)

    async def one(worker: str) -> TriedWorker:
        async with some:
            return await _worker(source, worker)

    try:
        workers = await _on_its_loop(source, _workers(source))
        found = await asyncio.gather(*map(one, sorted(workers)))
    except ClusterError as error:
        return TriedCluster(versions=versions(), error=error.what, remedy=error.remedy or "")
    finally:
        await off_the_loop(source.end)
    return TriedCluster(versions=versions(), workers=tuple(found))


async def _worker(source: ClientOf, address: str) -> TriedWorker:
    has: dict[str, str] = {}
    can: Abilities | None = None
    try:
        has = await _on_its_loop(source, _versions(source, address))
        check_versions(address, has)
        can = await _on_its_loop(source, _abilities(source, address))
        took_s = await _Trial().run(source, address)
    except HostStartError as error:
        return TriedWorker(
            address=address,
            versions=has,
            abilities=can,
            error=error.what,
            remedy=error.remedy or "",
        )
    return TriedWorker(address=address, versions=has, abilities=can, took_s=took_s)


class _Trial:
    """One process, which is told to import a module, and says that it has."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_placed = False

    async def run(self, source: ClientOf, address: str) -> float:
        """Run the trial. Returns how many seconds it took.

        Raises:
            HostStartError: there was no answer, and why.
        """
        started = time.monotonic()
        process = DaskLauncher(source, workers=(address,)).launch(ProcessToLaunch(_NAME))
        try:
            await self._answered(process)
        except TimeoutError as error:
            raise ClusterError(
                f"the worker {address} "
                + (
                    f"gave no answer within {_STARTED_S:g} s"
                    if self._is_placed
                    else f"had no thread free within {_STARTED_S:g} s"
                ),
                remedy="look at its log"
                if self._is_placed
                else "start workers with more threads (--nthreads): each process takes one",
            ) from error
        except ClusterError as error:
            if address in error.what:
                raise
            raise ClusterError(
                f"the worker {address}: {error.what}", remedy=error.remedy
            ) from error
        finally:
            process.close()
            process.close_console()
        return time.monotonic() - started

    async def _answered(self, process: Process) -> None:
        settings = Settings()
        link = process.connect(
            _NAME,
            asyncio.get_running_loop(),
            LinkEvents(self._on_frames, self._fail, on_hang_up=self._on_hang_up),
            backlog_bytes=settings.backlog_bytes,
            max_frame_bytes=settings.max_frame_bytes,
        )
        try:
            link.send(Channel.MANAGEMENT, 0, encode(Warm([_MODULE], at_low_priority=False)))
            async with asyncio.timeout(_STARTED_S):
                await self._answer
        finally:
            link.close()

    def _on_frames(self, frames: list[Frame]) -> None:
        for frame in frames:
            try:
                said = decode_up(frame.payload)
            except ProtocolError as error:
                self._fail(error)
                return
            match said:
                case Prepared():
                    self._is_placed = True
                case NotPlaced():
                    self._fail(ClusterError(said.what, remedy=said.remedy))
                case Warmed() if not self._answer.done():
                    self._answer.set_result(None)

    def _on_hang_up(self) -> None:
        self._fail(ClusterError("the process has ended at once", remedy="look at its log"))

    def _fail(self, error: ClusterError | ProtocolError) -> None:
        if isinstance(error, ProtocolError):
            error = ClusterError(str(error), remedy="look whether it is a worker of Dask")
        if not self._answer.done():
            self._answer.set_exception(error)


async def _workers(source: ClientOf) -> list[str]:
    """The addresses of all workers. On the client's loop."""
    client = await source.client()
    known = await client.scheduler.identity(n_workers=-1)
    return list(known["workers"])


async def _versions(source: ClientOf, address: str) -> dict[str, str]:
    """The versions that a worker has. On the client's loop.

    Raises:
        ClusterError: it does not say.
    """
    has = await _asked(source, address, versions, _ASKED_S)
    return {str(name): str(version) for name, version in has.items()}


async def _abilities(source: ClientOf, address: str) -> Abilities:
    """What its machine has. On the client's loop.

    Raises:
        ClusterError: it does not say.
    """
    found = await _asked(source, address, abilities_of_worker, _LOOKED_S)
    try:
        return msgspec.convert(found, type=Abilities)
    except msgspec.ValidationError as error:
        raise _cannot_use(address, str(error)) from error


async def _asked(
    source: ClientOf, address: str, question: Callable[[], Any], within_s: float
) -> dict[str, Any]:
    """What a function gives that a worker calls. On the client's loop.

    Raises:
        ClusterError: it gives nothing.
    """
    client = await source.client()
    try:
        async with asyncio.timeout(within_s):
            found = await client.run(question, workers=[address], on_error="return")
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"the worker {address} does not answer: {error or type(error).__name__}",
            remedy="look whether it runs, and end it if it does not",
        ) from error
    has = found.get(address)
    if not isinstance(has, dict):
        raise _cannot_use(address, repr(has))
    return has


def _cannot_use(address: str, why: str) -> ClusterError:
    return ClusterError(
        f"the worker {address} cannot use mpkernel: {why}",
        remedy="install mpkernel[dask] on it, in the version of the server",
    )


async def _on_its_loop(source: ClientOf, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run this on the client's loop, and return its result."""
    answer: concurrent.futures.Future[T] = concurrent.futures.Future()

    async def deliver() -> None:
        try:
            answer.set_result(await coroutine)
        except Exception as error:  # noqa: BLE001 (whoever waits for it handles it)
            answer.set_exception(error)

    source.call(deliver())
    return await asyncio.wrap_future(answer)
