"""`AppProcesses`: the processes of an app: which one takes a session, and when another is started.

    a session needs a process ─▶ placement ─▶ this one
                                     └─ START ─▶ RestartPolicies: launched now, or wait so long

Every death is counted and reported here; what becomes of the sessions is `app`'s.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import msgspec

from mpkernel.errors import AppUnavailable, HostStartError, PoolClosed
from mpkernel.logs import get_logger
from mpkernel.server.apps import placement
from mpkernel.server.apps.placement import Bounds, Decision
from mpkernel.server.apps.process_facts import Choose, HostFacts, facts_of
from mpkernel.server.apps.rebuilds import Rebuilds
from mpkernel.server.apps.restart_policies import RestartPolicies
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.deaths import Cause, Death, Reason
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
        self._clock = clock
        self._on_death = on_death
        self._bounds = Bounds(
            settings.processes_max,
            settings.processes_min,
            settings.sessions_per_process,
            settings.spread_at,
        )
        self._policies: RestartPolicies[AppHost] = RestartPolicies(settings, clock)
        self._kernel: KernelSpec | None = None  # of the session that started the last process
        self._is_wanted = False  # whether `processes_min` are kept: since the first session
        self._hosts: dict[AppHost, int] = {}  # each with its number, in the order of their launch
        self._outgoing: set[AppHost] = set()
        self._untold_deaths = 0  # processes that fell, and `died` was not called yet

    @property
    def taking(self) -> list[AppHost]:
        """The hosts that take sessions, the oldest first. Some may refuse them for now."""
        return [host for host in self._hosts if host.takes_sessions]

    @property
    def all(self) -> list[AppHost]:
        """The hosts that live, those that take sessions first."""
        return sorted(self._hosts, key=lambda host: not host.takes_sessions)

    def number_of(self, host: AppHost) -> int:
        """The number of a process. It has this number until it ends: the lowest one, from 1 on,
        that no other process of the app had when it was launched."""
        return self._hosts[host]

    @property
    def is_death_untold(self) -> bool:
        """Whether a process has ended for which `died` was not called yet."""
        return self._untold_deaths > 0

    @property
    def is_calm(self) -> bool:
        """Whether there is no process, and no recent death delays the next start."""
        return not (self._hosts or self._untold_deaths) and self._policies.is_calm

    @property
    def is_failed(self) -> bool:
        """Whether no process takes sessions, and the app died too often to be started for a
        while."""
        return not self._is_any_taking and self._policies.is_failed

    def wait_s(self) -> float:
        """In how many seconds a process may be started. 0.0: now, or a process takes sessions.

        Raises:
            AppUnavailable: the app died too often.
        """
        if self._is_any_taking:
            return 0.0
        left_s = self._policies.wait_s(())
        if left_s and self._policies.is_failed:
            raise AppUnavailable(
                f"{self._name} ended again and again, last: {self._last_death_in_words()}",
                remedy=f"try again in {left_s:.0f} s",
            )
        return left_s

    def host_for(self, kernel: KernelSpec) -> AppHost:
        """The host that takes a new session, launched now where `placement` says so. Returns at
        once, whatever state it is in.

        Raises:
            AppUnavailable: the app takes no sessions for now.
            HostStartError: the operating system refused the process, and there is no other.
        """
        self._is_wanted = True
        host = self._chosen(kernel)
        if host is None:
            left_s = self.wait_s()
            raise AppUnavailable(
                f"{self._name} is about to be started again after {self._last_death_in_words()}",
                remedy=f"try again in {left_s:.1f} s",
            )
        if host.refusal is not None:
            raise AppUnavailable(
                f"{self._name} takes no new sessions: {host.refusal}",
                remedy="try again when others have closed theirs",
            )
        return host

    def host_again(self, rebuilds: Rebuilds) -> AppHost | None:
        """The host that takes a session which has lost its own, launched as the last one was where
        `placement` says so. None: none takes it for now.

        Args:
            rebuilds: which processes rebuild others.

        Raises:
            PoolClosed: the app's pool was closed.
            HostStartError: no process could be launched, and there is no other. That is logged and
                reported; `wait_s` says when to try again.
        """
        if self._is_any_taking:
            return self._chosen(self._kernel_again, rebuilds)
        return None if self._policies.wait_s(()) else self.launch_again()

    def host_for_suspect(self, on_trial: Collection[object]) -> AppHost | None:
        """The same, for a session that may end its process once more.

        Args:
            on_trial: the hosts that have such a session already: it is not one of these.

        Raises:
            PoolClosed, HostStartError: as `host_again`.
        """
        outgoing, now = self._outgoing, self._clock()
        facts = [
            (host, facts_of(host, None, outgoing, now, has_trial=host in on_trial))
            for host in self.taking
        ]
        decision = self._decision(placement.choose_for_suspect, facts)
        if decision is Decision.START:
            return self.launch_again()
        return None if decision is Decision.WAIT else decision

    def launch_again(self) -> AppHost:
        """Launch one more process as the last one was.

        Raises:
            PoolClosed: the app's pool was closed.
            HostStartError: it could not be launched. That is logged and reported.
        """
        try:
            return self._launch(self._kernel_again)
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

    def lacking_s(self) -> float | None:
        """In how many seconds one more process may be started because the app has fewer than
        `processes_min`. None: it has enough."""
        taking = self.taking
        if not self._is_wanted or len(taking) >= self._bounds.processes_min:
            return None
        return self._policies.wait_s(taking)

    def rest(self) -> None:
        """Stop keeping `processes_min` processes, until there is another session."""
        self._is_wanted = False

    def is_spare(self, host: AppHost) -> bool:
        """Whether the app keeps enough processes without this one."""
        return len(self.taking) - host.takes_sessions >= self._bounds.processes_min

    def replace_soon(self, hosts: Collection[AppHost]) -> None:
        """These processes are about to be replaced: from now on, prefer others to them."""
        self._outgoing = set(hosts)

    def forget_deaths(self) -> None:
        """An app that died too often may start again."""
        self._policies.forget_deaths()

    def somebody_asks(self) -> None:
        """A session is being opened. If no process takes it, the cluster is asked again at once."""
        if not self._is_any_taking:
            self._policies.ask_cluster_again()

    def fell(self, host: AppHost, cause: Cause) -> None:
        """A process ended unasked; `died` follows. Only what the app has caused may be a sign of a
        crash loop."""
        if cause is not Cause.OPERATOR:
            self._policies.died(host, self.taking, by_cluster=cause is Cause.CLUSTER)
        self._untold_deaths += 1

    def died(self, death: Death, sessions: Sequence[BaseSession], usages: Sequence[Usage]) -> None:
        """Why a process ended, who was on it, and what it had used."""
        self._untold_deaths -= 1
        self._note(death, sessions, usages)

    def over(self, host: AppHost) -> None:
        """This process is gone, for whatever reason, and everything of it is cleaned up."""
        self._hosts.pop(host, None)
        self._outgoing.discard(host)
        self._policies.over(host)
        self._tallies.traffic = Traffic.sum((self._tallies.traffic, host.traffic))

    @property
    def _is_any_taking(self) -> bool:
        return any(host.takes_sessions for host in self._hosts)

    @property
    def _kernel_again(self) -> KernelSpec:
        assert self._kernel is not None, "a session that waits had a process, or waits for one"
        return self._kernel

    def _decision(self, choose: Choose, facts: HostFacts) -> AppHost | Decision:
        decision = choose(facts, self._bounds, may_start=True)
        if decision is Decision.START and self._policies.wait_s([host for host, _ in facts]):
            return choose(facts, self._bounds, may_start=False)
        return decision

    def _decision_for(self, rebuilds: Rebuilds | None) -> AppHost | Decision:
        """Decides for a session that comes back; or, without `rebuilds`, for a new one."""
        outgoing, now = self._outgoing, self._clock()
        facts = [(host, facts_of(host, rebuilds, outgoing, now)) for host in self.taking]
        choose = placement.choose if rebuilds is None else placement.choose_to_rebuild
        return self._decision(choose, facts)

    def _chosen(self, kernel: KernelSpec, rebuilds: Rebuilds | None = None) -> AppHost | None:
        """The host that takes a session, launched now where that is decided; None where none can
        take it and none may be launched."""
        decision = self._decision_for(rebuilds)
        if decision is Decision.START:
            try:
                return self._launch(kernel)
            except HostStartError as error:
                if not self._is_any_taking:
                    raise
                self._could_not_launch(error)
            decision = self._decision_for(rebuilds)  # none may be launched for a while
        return None if isinstance(decision, Decision) else decision

    def _launch(self, kernel: KernelSpec) -> AppHost:
        host = self._launch_host(kernel)
        self._kernel = msgspec.structs.replace(kernel, args=b"")
        self._policies.launched(host, self.taking)
        self._hosts[host] = self._free_number()
        self._tallies.starts += 1
        return host

    def _free_number(self) -> int:
        used = set(self._hosts.values())
        return next(number for number in itertools.count(1) if number not in used)

    def _could_not_launch(self, error: HostStartError) -> None:
        if not self._policies.is_refused:  # once for all that follow
            self._note(Death(app=self._path, pid=0, reason=Reason.START, what=str(error)), (), ())
        logger.warning("%s", error, app=self._path)
        self._policies.refused()

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
