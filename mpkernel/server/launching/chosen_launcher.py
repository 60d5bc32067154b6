"""`ChosenLauncher`: starts each app's process where its settings say.

    cluster unset ─▶ this machine
    cluster set   ─▶ a worker of that cluster, by `dask_backend`

This is the only place of the server that knows `dask_backend`, and only its name. Nothing of it is
imported unless an app is to run on a cluster.
"""

from __future__ import annotations

from mpkernel.errors import ClusterError
from mpkernel.program import resolve
from mpkernel.server.launching.local_launcher import LocalLauncher
from mpkernel.server.launching.process import Launcher, Process, ProcessToLaunch
from mpkernel.settings import Settings

__all__ = ["ChosenLauncher"]

_MAKER = "mpkernel.dask_backend.launcher:launcher_of"


class ChosenLauncher:
    """The `Launcher` of a pool that was given no other."""

    def __init__(self) -> None:
        self._here = LocalLauncher()
        self._clusters: dict[str, Launcher] = {}  # by address

    def is_local(self, settings: Settings) -> bool:
        """See `Launcher.is_local`."""
        return settings.cluster is None

    def launch(self, order: ProcessToLaunch) -> Process:
        """See `Launcher.launch`.

        Raises:
            HostStartError: it was refused, and why.
            ClusterError: Dask is not installed.
        """
        address = order.app.settings.cluster if order.app is not None else None
        launcher = self._here if address is None else self._of_cluster(address)
        return launcher.launch(order)

    def close(self) -> None:
        """See `Launcher.close`."""
        for launcher in self._clusters.values():
            launcher.close()

    def _of_cluster(self, address: str) -> Launcher:
        found = self._clusters.get(address)
        if found is None:
            try:
                made: Launcher = resolve(_MAKER)(address)
            except ImportError as error:
                raise ClusterError(
                    f"apps can run on the cluster {address} only with Dask: {error}",
                    remedy="pip install 'mpkernel[dask]'",
                ) from error
            found = self._clusters[address] = made
        return found
