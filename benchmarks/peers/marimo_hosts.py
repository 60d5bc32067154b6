"""marimo's own app hosts, to measure how long they take to start. Their sessions are notebooks; the
scenarios with a real server measure those.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Self

__all__ = ["MarimoHosts"]


class MarimoHosts:
    """See `Peer`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mpkernel-bench-")
        self._hosts: list[MarimoHost] = []

    async def __aenter__(self) -> Self:
        import marimo._session.app_host.host  # noqa: F401 (a server has imported it by then)

        return self

    async def __aexit__(self, *_: object) -> None:
        for host in self._hosts:
            await host.close()
        self._folder.cleanup()

    async def open_host(self) -> MarimoHost:
        app = Path(self._folder.name, f"app{len(self._hosts)}.py")
        app.touch()
        host = MarimoHost(app)
        self._hosts.append(host)
        return host


class MarimoHost:
    """See `Host`; its only session answers nothing, for the host is ready when it has started."""

    def __init__(self, app: Path) -> None:
        from marimo._session.app_host.host import AppHost

        self._host: Any = AppHost(str(app))
        self._host.start()

    @property
    def pid(self) -> int:
        pid: int = self._host.pid
        return pid

    async def open_session(self) -> Self:
        return self

    def send(self, payload: bytes) -> None:
        """There is no kernel."""

    async def receive(self) -> None:
        """There is no kernel."""

    async def close(self) -> None:
        self._host.shutdown()
