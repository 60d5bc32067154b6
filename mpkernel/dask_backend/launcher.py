"""`DaskLauncher`: starts app hosts on the workers of a Dask cluster.

    launch ─▶ a lease (`lease.hold`) is submitted ─▶ "here": a worker has it ─▶ `claim`
              and a `FarProcess` is returned                                       │
                                                    FarProcess.claimed ◀── connections

The client of Dask has a loop of its own, in another thread than the server's, or in the same. What
concerns the client is done on its loop, what concerns processes on the server's.
"""

from __future__ import annotations

import asyncio
import functools
import os
import uuid
from collections.abc import Sequence
from typing import Any

import dask
from distributed import Client, Future

from mpkernel.aio.tasks import supervised_task
from mpkernel.dask_backend.claiming import claim
from mpkernel.dask_backend.clients import ClientOf, ClientSource, GivenClient
from mpkernel.dask_backend.far_process import FarProcess
from mpkernel.dask_backend.lease import check_versions, hold
from mpkernel.dask_backend.messages import Confined, Launch, fault_of
from mpkernel.dask_backend.pending_lease import PendingLease
from mpkernel.dask_backend.scheduling import LEASE, AppTasks
from mpkernel.dask_backend.uploads import Upload, Uploads
from mpkernel.errors import ClusterError, HostStartError
from mpkernel.logs import get_logger
from mpkernel.server.launching.process import ProcessToLaunch
from mpkernel.settings import Settings

__all__ = ["DaskLauncher", "launcher_of"]

logger = get_logger(__name__)

_TELL_S = 10.0
_LOOK_S = 1.0
_PATIENCE_S = 5.0
_LONGEST_PATIENCE_S = 60.0
_MOST_TRIES = 3
"""How many workers are tried for one process, before its app is told."""


class DaskLauncher:
    """The `Launcher` of a cluster.

        async with HostPool(launcher=DaskLauncher(Client("tcp://scheduler:8786"))) as pool:
            …

    A given client must outlive the pool. If it is closed, or closes itself because it has lost its
    scheduler for too long, processes that run go on, but no more can be launched: the error says to
    make another pool with a new client.

    Args:
        client: a client of the cluster, which is not closed here; or what makes one.
        silence_s: see the setting `cluster_silence_s`. Default: what it says for each app.
        workers: the addresses of those that are used. Default: all.
    """

    def __init__(
        self,
        client: Client | ClientSource,
        *,
        silence_s: float | None = None,
        workers: Sequence[str] | None = None,
    ) -> None:
        self._source = GivenClient(client) if isinstance(client, Client) else client
        self._silence_s = silence_s
        self._workers = list(workers) if workers is not None else None
        self._topic = f"mpkernel-{uuid.uuid4().hex}"
        self._is_closed = False
        self._uploads = Uploads()
        self._leases: dict[str, PendingLease] = {}  # by ticket; on the client's loop, as the next
        self._subscribed: Client | None = None  # the client whose events are watched

    def is_local(self, settings: Settings) -> bool:
        """Never."""
        return False

    def launch(self, order: ProcessToLaunch) -> FarProcess:
        """See `Launcher.launch`.

        Raises:
            HostStartError: no descriptor is left.
            ClusterError: a Python of this machine was given, or what it needs cannot be sent.
        """
        name, app = order.name, order.app
        if order.python is not None:
            raise ClusterError(
                f"{name} cannot have a Python of this machine on a cluster",
                remedy="name in AppToLaunch the Python that the workers have",
            )
        if self._is_closed:
            raise ClusterError("the launcher is closed", remedy="make another one")
        loop = asyncio.get_running_loop()
        settings = app.settings if app is not None else Settings()
        lease = PendingLease(name, settings, self._workers)
        upload = None
        if app is not None and settings.cluster_upload:
            upload = self._uploads.of(app.path, settings.cluster_upload_bytes)
        try:
            lease.process = FarProcess(
                self._order(order, settings),
                loop=loop,
                cancel=functools.partial(self._cancel, lease),
                upload=upload,
            )
        except OSError as error:
            raise HostStartError(
                f"no process could be launched for {name}: {error}",
                remedy="raise the limit on open descriptors of this server",
            ) from error
        if fault := fault_of(lease.process.order):
            lease.process.close()
            lease.process.close_console()
            raise ClusterError(
                f"{name} cannot be sent to a worker: {fault}",
                remedy="look at KernelSpec.env, KernelSpec.requirements and the folder in which the"
                " server was started",
            )
        lease.process.waits("waits for a worker of the cluster")
        if upload is None:
            self._ask(lease)
        else:
            supervised_task(self._ask_when_packed(lease, upload), name="mpkernel.pack")
        return lease.process

    def close(self) -> None:
        """See `Launcher.close`. The processes that live are ended by their owners."""
        self._is_closed = True
        self._uploads.close()
        self._source.close()

    def _order(self, order: ProcessToLaunch, settings: Settings) -> Launch:
        env, app = order.env, order.app
        silence_s = settings.cluster_silence_s if self._silence_s is None else self._silence_s
        return Launch(
            name=order.name,
            app=app.path if app is not None else None,
            env=dict(env) if env is not None else None,
            silence_s=silence_s,
            sample_s=settings.watch_interval_s,
            python=app.python if app is not None else None,
            wrapper=order.wrapper,
            confined=Confined.of(settings),
            current_folder=_current_folder(),
        )

    async def _ask_when_packed(self, lease: PendingLease, upload: Upload) -> None:
        try:
            await upload.look()
        except ClusterError as error:
            lease.refuse(error)
        else:
            self._ask(lease)

    def _ask(self, lease: PendingLease) -> None:
        """On the server's loop: begin to ask the scheduler for a worker."""
        if self._source.call(self._submit(lease)):
            self._look_later(lease)
        else:
            self._refuse_without_client(lease)

    def _look_later(self, lease: PendingLease) -> None:
        """On the server's loop: look each second whether there still is a client. The loop of one
        that is being closed may never run what it was given, and the app would wait for ever."""
        lease.process.loop.call_later(_LOOK_S, self._look, lease)

    def _look(self, lease: PendingLease) -> None:
        if lease.over.is_set() or lease.process.where:  # a worker has it
            return
        if self._source.is_closed:
            self._refuse_without_client(lease)
        else:
            self._look_later(lease)

    def _refuse_without_client(self, lease: PendingLease) -> None:
        self._refuse(
            lease,
            ClusterError(
                f"the client of the scheduler {self._source.address} is closed",
                remedy="make another pool with a new client",
            ),
        )

    async def _submit(self, lease: PendingLease, patience_s: float = _PATIENCE_S) -> None:
        """On the client's loop: ask the scheduler for a worker, and again if none has taken it
        within `patience_s`."""
        if lease.over.is_set():
            return
        try:
            client = await self._source.client()
            if self._subscribed is not client:
                self._subscribed = client
                client.subscribe_topic(self._topic, self._on_event)
                await self._tell_scheduler(client)
            if lease.over.is_set():  # meanwhile
                return
            lease.ticket = uuid.uuid4().hex
            lease.is_claimed = False
            self._leases[lease.ticket] = lease
            with dask.annotate(**{LEASE: True}):
                lease.future = client.submit(
                    hold,
                    lease.ticket,
                    self._topic,
                    key=f"mpkernel {lease.name}-{lease.ticket[:12]}",
                    pure=False,
                    retries=0,
                    resources=lease.resources,
                    workers=lease.fitting,
                    allow_other_workers=self._workers is None and lease.fitting is not None,
                )
            lease.future.add_done_callback(functools.partial(self._on_done, lease))
            again = self._ask_again(lease, lease.ticket, patience_s)
            supervised_task(again, name=f"mpkernel.lease.{lease.name}")
        except ClusterError as error:
            self._refuse(lease, error)
        except Exception as error:  # noqa: BLE001 (the app is told)
            self._refuse(
                lease,
                ClusterError(
                    f"the scheduler {self._source.address} takes no task: {error!r}",
                    remedy="look whether it runs and can be reached",
                ),
            )

    async def _ask_again(self, lease: PendingLease, ticket: str, after_s: float) -> None:
        """Submit the task again. Without `AppTasks`, the scheduler may have given it to a worker
        that is busy with another lease, and leaves it there although another worker is idle by
        now."""
        await asyncio.sleep(after_s)
        if lease.ticket == ticket and not lease.is_claimed and not lease.over.is_set():
            await self._give_back(lease)
            await self._submit(lease, min(2 * after_s, _LONGEST_PATIENCE_S))

    async def _tell_scheduler(self, client: Client) -> None:
        try:
            async with asyncio.timeout(_TELL_S):
                await client.register_plugin(AppTasks())
        except Exception as error:  # noqa: BLE001 (of the scheduler: what it lacks, or forbids)
            logger.warning(
                "the scheduler %s takes no plugin of mpkernel, so an adaptive cluster may grow late"
                " and end workers that have apps: %r (install mpkernel[dask] where it runs)",
                self._source.address,
                error,
            )

    async def _on_event(self, event: tuple[float, Any]) -> None:
        """On the client's loop: a worker has a lease."""
        _, said = event
        if not isinstance(said, dict):
            return
        ticket, address = said.get("ticket"), said.get("address")
        lease = self._leases.get(ticket) if isinstance(ticket, str) else None
        if lease is None or not isinstance(address, str) or lease.is_claimed or lease.over.is_set():
            return
        lease.is_claimed = True
        try:
            check_versions(address, said.get("versions"))
            client = await self._source.client()
            socks = await claim(lease, address, client.security)
        except ClusterError as error:
            await self._try_another(lease, address, error)
        except Exception as error:
            logger.exception("a worker could not be used worker=%s", address)
            what = f"the worker {address} could not be used: {error!r}"
            failure = ClusterError(what, remedy="look at the server's log")
            await self._try_another(lease, address, failure)
        else:
            lease.hand_over(socks, address)

    async def _try_another(self, lease: PendingLease, address: str, error: ClusterError) -> None:
        """The worker of this address cannot be used: try the workers that were not tried yet."""
        logger.warning("%s", error)
        lease.unfit.add(address)
        await self._give_back(lease)
        if len(lease.unfit) < _MOST_TRIES:
            try:
                client = await self._source.client()
                known = self._workers
                if known is None:
                    known = list((await client.scheduler.identity(n_workers=-1))["workers"])
                lease.fitting = [one for one in known if one not in lease.unfit]
            except (OSError, ClusterError) as failure:
                logger.warning(
                    "the scheduler %s cannot be asked: %s", self._source.address, failure
                )
                lease.fitting = []
            if lease.fitting:
                await self._submit(lease)
                return
        self._refuse(lease, error)

    def _on_done(self, lease: PendingLease, future: Future) -> None:
        """A task has ended. Called on a thread of the client."""
        self._source.call(self._done(lease, future))

    async def _done(self, lease: PendingLease, future: Any) -> None:
        status: str = future.status
        if lease.future is not future or lease.over.is_set() or lease.is_claimed:
            return
        if status == "error":
            what = f"no worker could run it: {await future.exception()!r}"
        elif status == "finished":
            what = "it was not claimed in time"
        else:
            what = "the scheduler has lost it"
        self._refuse(
            lease,
            ClusterError(
                f"no worker of the scheduler {self._source.address} runs {lease.name}: {what}",
                remedy="install mpkernel[dask] on every worker, in the version of the server, and"
                " look whether the scheduler runs",
            ),
        )

    def _refuse(self, lease: PendingLease, error: ClusterError) -> None:
        self._leases.pop(lease.ticket, None)
        lease.refuse(error)

    def _cancel(self, lease: PendingLease) -> None:
        """The process is not needed any more. From any thread."""
        lease.over.set()
        self._source.call(self._give_back(lease))

    async def _give_back(self, lease: PendingLease) -> None:
        self._leases.pop(lease.ticket, None)
        future, lease.future = lease.future, None
        if future is None:
            return
        try:
            await future.cancel()
        except Exception as error:  # noqa: BLE001 (the lease ends by itself: nobody claims it)
            logger.debug("a lease could not be cancelled: %s", error)


def _current_folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return None


def launcher_of(address: str) -> DaskLauncher:
    """The launcher of the cluster that the setting `cluster` names."""
    return DaskLauncher(ClientOf(address))
