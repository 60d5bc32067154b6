"""The peer mpkernel: a `HostPool` with its default settings."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Self

from mpkernel import Channel, HostPool, KernelSpec, Session, Settings
from mpkernel.server.hosts.lifecycle import State

from .. import workload

__all__ = ["MPKernel", "OnCluster", "OnEight", "OnPython", "OurHost", "WithStandby"]

_SPEC = KernelSpec(entry=f"{workload.__name__}:on_mpkernel")


class MPKernel:
    """See `Peer`.

    Args:
        settings: of the pool. Default: the pool's defaults, except that idle hosts are kept.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.pool = HostPool(settings or Settings(idle_retire_s=None))
        self._folder = tempfile.TemporaryDirectory(prefix="mpkernel-bench-")
        self._hosts = 0

    async def __aenter__(self) -> Self:
        await self.pool.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.close()
        self._folder.cleanup()

    async def open_host(self) -> OurHost:
        self._hosts += 1
        app = Path(self._folder.name, f"app{self._hosts}.py")
        app.touch()
        return OurHost(self.pool, app)


class WithStandby(MPKernel):
    """With a standby process, as marimo's servers use it; it is warm when the block begins."""

    def __init__(self) -> None:
        imports: tuple[str, ...] = ("mpkernel.kernel.main",)
        if importlib.util.find_spec("marimo"):
            imports += ("mpkernel.marimo_backend.host.warm",)
        super().__init__(Settings(idle_retire_s=None, standby=1, standby_imports=imports))

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.pool.standby.wait_ready()
        return self


class OnPython(MPKernel):
    """Hosts run in another interpreter. It does not find the benchmarks, so each app has a copy of
    the workload beside it.

    Args:
        python: the interpreter's path.
    """

    def __init__(self, python: str) -> None:
        super().__init__(Settings(idle_retire_s=None, python=python))
        shutil.copy(workload.__file__, self._folder.name)

    async def open_host(self) -> OurHost:
        host = await super().open_host()
        host.spec = KernelSpec(entry="workload:on_mpkernel")
        return host


class OnCluster(MPKernel):
    """Hosts run on the three workers of a Dask cluster on this machine; each app is spread over
    three processes."""

    def __init__(self) -> None:
        super().__init__(Settings(idle_retire_s=None, cluster="local:3", processes_max=3))


class OnEight(MPKernel):
    """Each app is spread over eight processes, which are ready, with one session, when `open_host`
    returns."""

    def __init__(self) -> None:
        super().__init__(Settings(idle_retire_s=None, processes_max=8, processes_min=8))

    async def open_host(self) -> OurHost:
        host = await super().open_host()
        await host.open_session()
        while sum(one.state is State.READY for one in self.pool.hosts) < 8 * self._hosts:
            await asyncio.sleep(0.01)
        return host


class OurHost:
    """See `Host`. The process starts with its first session."""

    def __init__(self, pool: HostPool, app: Path) -> None:
        self._pool = pool
        self._app = app
        self._sessions: list[Session] = []
        self.spec = _SPEC

    @property
    def pid(self) -> int:
        pid = self._sessions[0].pid
        assert pid is not None
        return pid

    async def open_session(self) -> OurSession:
        session = await self._pool.open_session(self._app, kernel=self.spec)
        self._sessions.append(session)
        return OurSession(session)

    async def close(self) -> None:
        for host in self._pool.hosts:
            if host.pid == self._sessions[0].pid:
                await host.close()


class OurSession:
    """See `PeerSession`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # The method itself: a coroutine around it would add the adapter's cost to mpkernel's.
        self.receive = session.__anext__

    def send(self, payload: bytes) -> None:
        self._session.send(Channel.CONTROL, payload)
