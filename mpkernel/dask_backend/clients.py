"""The client of a cluster, and the loop on which it is used.

GivenClient   one that the embedding program has made, and closes
ClientOf      one that is made from an address when it is first needed, on a thread of its own,
              and made anew when it has given up
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from collections.abc import Coroutine
from typing import Any, Protocol

from distributed import Client, LocalCluster
from distributed.security import Security

from mpkernel.aio.loops import new_event_loop
from mpkernel.errors import ClusterError, HostStartError

__all__ = ["ClientOf", "ClientSource", "GivenClient"]

logger = logging.getLogger(__name__)

_CONNECT_S = 8.0
_REFUSED_FOR_S = 10.0
"""For so long after an attempt to connect that failed, others fail at once. So an app is told soon
that it cannot run, instead of waiting for each of the attempts that it makes."""
_LOCAL = "local:"
_TLS = "tls://"
_LOCAL_THREADS = 64
"""Each process of an app takes one thread of its worker, so a worker of a trial has room for
these."""


class ClientSource(Protocol):
    """Where a launcher gets its client from."""

    @property
    def address(self) -> str:
        """The scheduler's, for messages."""

    @property
    def is_closed(self) -> bool:
        """Whether the client is closed for good. From any thread."""

    async def client(self) -> Client:
        """The client, connected. On its loop.

        Raises:
            ClusterError: the scheduler cannot be reached.
        """

    def call(self, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Run this coroutine on the client's loop. From any thread; returns at once. False: the
        loop is closed, and the coroutine does not run."""

    def close(self) -> None:
        """Close what this object has opened. Returns at once. From any thread. Idempotent."""


class GivenClient:
    """A client that somebody else has made.

    Args:
        client: the client.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._address = "whose address is not known yet"
        self._look()

    @property
    def address(self) -> str:
        """See `ClientSource.address`. The last one that was known: a closed client has none."""
        return self._address

    @property
    def is_closed(self) -> bool:
        """See `ClientSource.is_closed`."""
        return bool(self._client.status == "closed")

    async def client(self) -> Client:
        """See `ClientSource.client`. A client that connects for the first time is waited for.

        Raises:
            ClusterError: the client could not connect, was closed, or has given up.
        """
        try:
            await asyncio.shield(asyncio.ensure_future(self._client))
        except OSError as error:
            raise ClusterError(
                f"the client of the cluster could not connect: {error}",
                remedy="look whether the scheduler runs, and make another pool with a new client",
            ) from error
        self._look()
        if self._client.status != "running":
            raise ClusterError(
                f"the client of the scheduler {self.address} is {self._client.status}",
                remedy="look whether the scheduler runs, and make another pool with a new client",
            )
        return self._client

    def _look(self) -> None:
        scheduler = self._client.scheduler
        if scheduler is not None:
            self._address = str(scheduler.address)

    def call(self, coroutine: Coroutine[Any, Any, None]) -> bool:
        """See `ClientSource.call`."""
        return _call(self._client.loop.asyncio_loop, coroutine)

    def close(self) -> None:
        """Nothing: whoever made the client closes it."""


class ClientOf:
    """A client of the scheduler at an address.

    Args:
        address: "tcp://host:port" or "tls://host:port"; or "local:N" for a cluster of N workers on
            this machine, which ends with this object.

    Attributes:
        address: as given.

    Raises:
        HostStartError: the system gives no thread.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._runner = asyncio.Runner(loop_factory=new_event_loop)
        self._loop = self._runner.get_loop()
        self._ending = asyncio.Event()
        self._client: Client | None = None
        self._cluster: LocalCluster | None = None
        self._connecting = asyncio.Lock()
        self._refusal: ClusterError | None = None  # why the last attempt to connect has failed
        self._refused_until = 0.0
        self._thread = threading.Thread(target=self._run, name="mpkernel-cluster", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._loop.close()
            raise HostStartError(
                f"the cluster {address} cannot be used: {error}",
                remedy="look at the limits on threads of this server's user",
            ) from error
        atexit.register(self.end)  # at a program's end, a daemon thread would stop in the middle

    @property
    def is_closed(self) -> bool:
        """See `ClientSource.is_closed`."""
        return self._loop.is_closed()

    async def client(self) -> Client:
        """See `ClientSource.client`.

        Raises:
            ClusterError: the scheduler cannot be reached, or the cluster cannot be started.
        """
        async with self._connecting:
            if self._client is not None:
                if self._client.status == "running":
                    return self._client
                await self._give_up(self._client)
            now = self._loop.time()
            if self._refusal is not None and now < self._refused_until:
                raise ClusterError(self._refusal.what, remedy=self._refusal.remedy)
            try:
                self._client = await self._connected()
            except ClusterError as error:
                self._refusal, self._refused_until = error, self._loop.time() + _REFUSED_FOR_S
                raise
            return self._client

    async def _give_up(self, client: Client) -> None:
        """Close a client that has lost its scheduler. Otherwise it would go on looking for the
        scheduler beside the next client."""
        self._client = None
        try:
            async with asyncio.timeout(_CONNECT_S):
                await client.close()
        except Exception as error:  # noqa: BLE001 (it is not used any more)
            logger.debug("a client of %s could not be closed: %r", self.address, error)

    def call(self, coroutine: Coroutine[Any, Any, None]) -> bool:
        """See `ClientSource.call`."""
        return _call(self._loop, coroutine)

    def close(self) -> None:
        """See `ClientSource.close`."""
        try:
            self._loop.call_soon_threadsafe(self._ending.set)
        except RuntimeError as error:  # it is closed
            logger.debug("the client of the cluster is closed: %s", error)

    def end(self) -> None:
        """The same as `close`, and wait until it is done, for at most 8 s. Not on the client's
        loop."""
        self.close()
        self._thread.join(_CONNECT_S)

    async def _connected(self) -> Client:
        try:
            target: LocalCluster | str = self.address
            if self.address.startswith(_LOCAL):
                if self._cluster is None:
                    self._cluster = await LocalCluster(
                        n_workers=int(self.address.removeprefix(_LOCAL)),
                        threads_per_worker=_LOCAL_THREADS,
                        memory_limit=0,
                        dashboard_address=None,
                        asynchronous=True,
                    )
                target = self._cluster
            client: Client = await Client(
                target,
                asynchronous=True,
                set_as_default=False,
                timeout=_CONNECT_S,
                security=None if target is self._cluster else _security_for(self.address),
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise ClusterError(
                f"the scheduler {self.address} cannot be reached: {error}",
                remedy="look whether it runs, and whether its address is right",
            ) from error
        return client

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._until_closed())

    async def _until_closed(self) -> None:
        await self._ending.wait()
        try:
            async with asyncio.timeout(_CONNECT_S):
                if self._client is not None:
                    await self._client.close()
                if self._cluster is not None:
                    await self._cluster.close()
        except Exception as error:  # noqa: BLE001 (the thread ends in any case)
            logger.debug("the client of %s could not be closed: %r", self.address, error)


def _security_for(address: str) -> Security:
    """The certificates and keys that Dask's own configuration names.

    Raises:
        ClusterError: the address is one of TLS, and the configuration names no files for it, or
            they cannot be used.
    """
    security = Security()
    if not address.startswith(_TLS):
        return security
    try:
        has_files = security.get_connection_args("client")["ssl_context"] is not None
    except (OSError, ValueError) as error:
        named = f"{security.tls_ca_file}, {security.tls_client_cert}, {security.tls_client_key}"
        raise ClusterError(
            f"the files of Dask's configuration for {address} cannot be used: {error} ({named})",
            remedy="correct distributed.comm.tls in Dask's configuration, or the files",
        ) from error
    if not has_files:
        raise ClusterError(
            f"{address} is encrypted, and Dask's configuration does not name all files for it",
            remedy="set distributed.comm.tls.ca-file, and client.cert and client.key there, in"
            " Dask's configuration, or DASK_DISTRIBUTED__COMM__TLS__CA_FILE,"
            " …__TLS__CLIENT__CERT and …__TLS__CLIENT__KEY",
        )
    return security


def _call(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]) -> bool:
    try:
        asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError as error:  # it is closed
        coroutine.close()
        logger.debug("the client of the cluster is closed: %s", error)
        return False
    return True
