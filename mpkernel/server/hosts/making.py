"""`HostMaker`: makes hosts, and has what all hosts of a pool share.

app, kernel ─▶ a standby process, or a fresh one ─▶ AppHost
                                shared: console relay · watchdog · virtual files · the sweep
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Callable, Sequence

import msgspec

from mpkernel.aio.threads import off_the_loop
from mpkernel.server.hosts.health import Health
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.hosts.owner import Owner
from mpkernel.server.launching.chosen_launcher import ChosenLauncher
from mpkernel.server.launching.environments import environment_for
from mpkernel.server.launching.local_launcher import LocalLauncher
from mpkernel.server.launching.process import AppToLaunch, Launcher, ProcessToLaunch
from mpkernel.server.launching.python_of_app import python_of_app
from mpkernel.server.launching.standbys import Standbys
from mpkernel.server.launching.wanted_python import wanted_python
from mpkernel.server.launching.wrapping import wrapper_of
from mpkernel.server.links.console_relay import ConsoleRelay
from mpkernel.server.supervision.strays import end_strays_of_dead_servers
from mpkernel.server.supervision.watchdog import Watchdog
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec
from mpkernel.steps import run_each
from shm import Registry, sweep

__all__ = ["HostMaker"]

logger = logging.getLogger(__name__)

_HOST_FILES = 256
"""How many virtual files each process may have, however many the others have."""

_GIVE_UP_EVERY_S = 0.1
_RELAY_PATIENCE_S = 0.5


class HostMaker:
    """Makes the hosts of one pool. On the loop's thread, except `kill_and_reap` and `end_console`.

    Args:
        settings: the pool's.
        sweeps: whether what dead servers left is removed when the first host is made.
        hosts: gives all hosts that live.
        launcher: starts the processes of apps. Default: where their settings say.

    Attributes:
        files: the virtual files of all hosts.
        standby: the processes that wait for an app.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sweeps: bool,
        hosts: Callable[[], Sequence[AppHost]],
        launcher: Launcher | None = None,
    ) -> None:
        self._settings = settings
        self._sweeps = sweeps
        self._hosts = hosts
        self.files = Registry(
            session_quota_bytes=settings.session_files_bytes,
            quota_bytes=settings.files_bytes,
            host_files=_HOST_FILES,
        )
        self._launcher: Launcher = launcher if launcher is not None else ChosenLauncher()
        if not self._launcher.is_local(settings):  # standbys wait on this machine only
            if settings.standby:
                logger.info(
                    "standby=%d has no effect: no process waits on the workers of a cluster",
                    settings.standby,
                )
            settings = msgspec.structs.replace(settings, standby=0)
        self.standby = Standbys(settings, LocalLauncher())
        self._gave_up_at = float("-inf")  # when hosts were last asked to, by the loop's clock
        self._giving_up: asyncio.TimerHandle | None = None
        self._relay = ConsoleRelay(
            forward=settings.relay_console, as_json=settings.log_format == "json"
        )
        self._watchdog: Watchdog[Health] | None = None

    def make(self, app: Owner[AppHost], kernel: KernelSpec) -> AppHost:
        """Start a process for an app, or give it one that waits.

        Args:
            app: the app.
            kernel: the first kernel that will run there. Its `argv` becomes `sys.argv`. If it sets
                environment variables, a process that waits cannot be used.

        Raises:
            HostStartError: no process could be started, or connected.
        """
        if self._sweeps:
            try:
                _sweep_once()
            except RuntimeError as error:  # no thread is left; the next host's start tries again
                logger.warning("what dead servers left is not removed for now: %s", error)
        if self._watchdog is None:
            self._watchdog = Watchdog(self._settings, Health.judged)
        is_local = self._launcher.is_local(app.settings)
        python = python_of_app(app.path, app.settings, kernel) if is_local else None
        process = None
        if kernel.env is None and is_local:
            process = self.standby.take(
                app.path,
                app.settings,
                app.import_folders,
                python,
                sessions_wait=app.waiting_count > 0,
            )
        if process is None:
            env = kernel.env
            if env is None and is_local:
                env = environment_for(app.settings)
            process = self._launcher.launch(
                ProcessToLaunch(
                    app.name,
                    env=env,
                    python=python,
                    wrapper=wrapper_of(app.settings),
                    app=AppToLaunch(app.path, app.settings, wanted_python(app.settings, kernel)),
                )
            )
        loop = asyncio.get_running_loop()
        return AppHost(
            app,
            process,
            loop,
            self._relay,
            self.files,
            self._watchdog,
            kernel.argv,
            self._give_up_free_soon,
        )

    async def stop_watching(self) -> None:
        """Start no process any more, and watch no host."""
        self._launcher.close()
        if self._watchdog is not None:
            await self._watchdog.close()

    async def close_console(self) -> None:
        """Relay what the hosts have written until now, then end the relay."""
        await off_the_loop(self.end_console)

    def close_soon(self) -> None:
        """Start no process any more, and watch no host, without waiting."""
        self.standby.close_soon()
        self._launcher.close()
        if self._watchdog is not None:
            self._watchdog.close_soon()

    def kill_and_reap(self) -> None:
        """Kill the processes that wait, and watch no host, without a loop."""
        try:
            self.standby.kill_and_reap()
            self._launcher.close()
        finally:
            if self._watchdog is not None:
                self._watchdog.kill()

    async def watching_ended(self) -> None:
        """Return when no thread watches any more, after `kill_and_reap`. On any loop."""
        if self._watchdog is not None:
            await self._watchdog.thread_ended()

    def end_console(self) -> None:
        """The same as `close_console`, on the calling thread."""
        self._relay.close()
        self._relay.join(_RELAY_PATIENCE_S)

    def _give_up_free_soon(self) -> None:
        """A process has found shared memory full: ask the others to give up the blocks that they
        keep to use again."""
        if self._giving_up is None:
            loop = asyncio.get_running_loop()
            at = max(loop.time(), self._gave_up_at + _GIVE_UP_EVERY_S)
            self._giving_up = loop.call_at(at, self._give_up_free)

    def _give_up_free(self) -> None:
        self._gave_up_at, self._giving_up = asyncio.get_running_loop().time(), None
        run_each(
            [host.give_up_free for host in self._hosts()],
            "a process could not be told to give up shared memory",
        )


@functools.cache
def _sweep_once() -> None:
    """End and remove, on a thread of its own, what dead servers and their hosts left."""
    threading.Thread(target=_sweep, name="mpkernel-sweep", daemon=True).start()


def _sweep() -> None:
    end_strays_of_dead_servers()
    sweep()
