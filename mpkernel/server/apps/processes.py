"""`AppProcesses`: the processes of an app: which one takes sessions, and when another is started.

    a session needs a process ─▶ placement: the one that takes sessions
                                     └─ none ─▶ RestartPolicy: launched now, or wait so long

Every death is counted and reported here; what becomes of the sessions is `app`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from mpkernel.errors import AppUnavailable, HostStartError, PoolClosed
from mpkernel.logs import get_logger
from mpkernel.server.apps import placement
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.launching.restart_policy import RestartPolicy
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.deaths import Death, Reason
from mpkernel.server.supervision.tallies import Tallies, Traffic
from mpkernel.server.supervision.usage import Usage
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec

__all__ = ["AppProcesses", "OnDeath"]

logger = get_logger(__name__)

Launch: TypeAlias = Callable[[KernelSpec], AppHost]
OnDeath: TypeAlias = Callable[[Death, Sequence[BaseSession], Sequence[Usage]], None]


class AppProcesses:
    """One app's. On the loop's thread.

    Args:
        path: absolute path of the app's file.
        name: its short name, for messages.
        settings: the app's.
        tallies: starts and deaths are counted there.
        launch: launches a host of the app, for this kernel.
        on_death: called with each death, the sessions that were on the process, and the latest
            looks at what it used.
        clock: seconds, as `time.monotonic`, which is the default.

    Attributes:
        last_death: how the last process that died did; None when none did.
        death_count: how many did.
    """

    def __init__(
        self,
        path: str,
        name: str,
        settings: Settings,
        tallies: Tallies,
        launch: Launch,
        on_death: OnDeath,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.last_death: Death | None = None
        self.death_count = 0
        self._path = path
        self._name = name
        self._settings = settings
        self._tallies = tallies
        self._launch_host = launch
        self._on_death = on_death
        self._clock = clock
        self._policy = RestartPolicy(settings)
        self._kernel: KernelSpec | None = None  # of the session that started the last one
        self._hosts: dict[AppHost, None] = {}  # in the order of their launch
        self._untold_deaths = 0  # of these, `died` will say why

    @property
    def taking(self) -> AppHost | None:
        """The host that takes sessions."""
        return placement.choose(tuple(self._hosts))

    @property
    def all(self) -> list[AppHost]:
        """The hosts that live, the one that takes sessions first."""
        taking = self.taking
        return sorted(self._hosts, key=lambda host: host is not taking)

    @property
    def is_death_untold(self) -> bool:
        """Whether a process ended, and `died` follows."""
        return self._untold_deaths > 0

    @property
    def is_calm(self) -> bool:
        """Whether there is no process, and no death of late would keep one from starting."""
        is_used = self._hosts or self._untold_deaths
        return not is_used and self._policy.is_calm(self._clock())

    @property
    def is_failed(self) -> bool:
        """Whether the app died too often, and is not started for a while."""
        return self._policy.failed and self._policy.wait_s(self._clock()) > 0

    def wait_s(self) -> float:
        """How long until a process may be started, if none takes sessions; 0.0 for now.

        Raises:
            AppUnavailable: the app died too often.
        """
        if self.taking is not None:
            return 0.0
        left_s = self._policy.wait_s(self._clock())
        if left_s and self._policy.failed:
            raise AppUnavailable(
                f"{self._name} ended again and again, last: {self._last_death_in_words()}",
                remedy=f"try again in {left_s:.0f} s",
            )
        return left_s

    def host_for(self, kernel: KernelSpec) -> AppHost:
        """The host that takes new sessions, launched now when there is none. Returns at once,
        whatever state it is in.

        Raises:
            AppUnavailable: the app takes no sessions for now.
            HostStartError: the operating system refused the process.
        """
        host = self.taking
        if host is not None:
            if host.refusal is not None:
                raise AppUnavailable(
                    f"{self._name} takes no new sessions: {host.refusal}",
                    remedy="try again when others have closed theirs",
                )
            return host
        left_s = self.wait_s()
        if left_s:
            raise AppUnavailable(
                f"{self._name} is about to be started again after {self._last_death_in_words()}",
                remedy=f"try again in {left_s:.1f} s",
            )
        return self._launch(kernel)

    def host_again(self) -> AppHost:
        """The host that takes sessions, for those that have lost theirs: launched as the last one
        was, when there is none.

        Raises:
            PoolClosed: the app's pool was closed.
            HostStartError: no process could be launched. That is logged and reported; `wait_s` says
                when to try again.
        """
        host = self.taking
        if host is not None:
            return host
        try:
            assert self._kernel is not None, "a session that waits had a process, or waits for one"
            return self._launch(self._kernel)
        except PoolClosed:
            raise
        except HostStartError as error:
            self._could_not_launch(error)
            raise
        except Exception as error:
            logger.exception("no process could be launched", app=self._path)
            what = f"no process could be launched for {self._name}: {error!r}"
            failure = HostStartError(what, remedy="look at the server's log")
            self._could_not_launch(failure)
            raise failure from error

    def forget_deaths(self) -> None:
        """An app that died too often may start again."""
        self._policy = RestartPolicy(self._settings)

    def fell(self, *, by_operator: bool) -> None:
        """A process ended unasked; `died` follows. What an operator ended is no sign of a crash
        loop."""
        if not by_operator:
            self._policy.died(self._clock())
        self._untold_deaths += 1

    def died(self, death: Death, sessions: Sequence[BaseSession], usages: Sequence[Usage]) -> None:
        """Why a process ended, who was on it, and what it had used."""
        self._untold_deaths -= 1
        self._note(death, sessions, usages)

    def over(self, host: AppHost) -> None:
        """This one is gone, whatever the reason, and all is cleaned up."""
        self._hosts.pop(host, None)
        self._tallies.traffic = Traffic.sum((self._tallies.traffic, host.traffic))

    def _launch(self, kernel: KernelSpec) -> AppHost:
        host = self._launch_host(kernel)
        self._kernel = msgspec.structs.replace(kernel, args=b"")
        self._policy.launched()
        self._hosts[host] = None
        self._tallies.starts += 1
        return host

    def _could_not_launch(self, error: HostStartError) -> None:
        if not self._policy.is_refused:  # once for all that follow
            self._note(Death(app=self._path, pid=0, reason=Reason.START, what=str(error)), (), ())
        logger.warning("%s", error, app=self._path)
        self._policy.refused(self._clock())

    def _note(self, death: Death, sessions: Sequence[BaseSession], usages: Sequence[Usage]) -> None:
        self.last_death = death
        self.death_count += 1
        self._tallies.deaths[death.reason] += 1
        try:
            self._on_death(death, sessions, usages)
        except Exception:
            logger.exception("a death could not be reported", app=self._path, pid=death.pid)

    def _last_death_in_words(self) -> str:
        return self.last_death.what if self.last_death is not None else "its end"
