"""`RestartPolicies`: when an app's next process may be started, where it may have several.

    each process has a policy ── its death counts there; where no other process of the app takes
                                 sessions then, it counts for all policies
    one more process ─────────── gets a policy that no process which takes sessions has, or a new
                                 one

So a process that ends again and again keeps only itself from being started, while an app that ends
with its only process again and again has a longer wait each time, and has failed in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Generic, TypeVar

from mpkernel.server.launching.restart_policy import RestartPolicy
from mpkernel.settings import Settings

__all__ = ["RestartPolicies"]

HostT = TypeVar("HostT")


class RestartPolicies(Generic[HostT]):
    """One app's. On the loop's thread.

    Args:
        settings: the app's.
        clock: seconds of a monotonic clock.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._policies = [RestartPolicy(settings)]
        self._of: dict[HostT, RestartPolicy] = {}

    @property
    def is_failed(self) -> bool:
        """Whether every policy has seen too many deaths, so that none may be started for a
        while."""
        now = self._clock()
        return all(one.failed and one.wait_s(now) > 0 for one in self._policies)

    @property
    def is_refused(self) -> bool:
        """Whether the system refused to start the last process that was asked for."""
        return any(one.is_refused for one in self._policies)

    @property
    def is_calm(self) -> bool:
        """Whether no earlier death or refusal affects the next start any more."""
        now = self._clock()
        return all(one.is_calm(now) for one in self._policies)

    def wait_s(self, taking: Collection[HostT]) -> float:
        """How long until one more process may be started; 0.0 for now.

        Args:
            taking: the processes that take sessions.
        """
        now = self._clock()
        those = self._policies if self.is_refused else self._free(taking)
        return min((one.wait_s(now) for one in those), default=0.0)

    def launched(self, host: HostT, taking: Collection[HostT]) -> None:
        """A process was launched.

        Args:
            host: which.
            taking: those that took sessions before.
        """
        for one in self._policies:
            one.launched()
        free = self._free(taking)
        if not free:
            free = [RestartPolicy(self._settings)]
            self._policies += free
        now = self._clock()
        self._of[host] = min(free, key=lambda one: one.wait_s(now))

    def refused(self) -> None:
        """The system refused to start a process, and would refuse another."""
        now = self._clock()
        for one in self._policies:
            one.refused(now)

    def died(self, host: HostT, taking: Collection[HostT], *, by_cluster: bool = False) -> None:
        """A process ended by itself.

        Args:
            host: which.
            taking: the others that take sessions.
            by_cluster: whether no worker could run it, or its worker was lost.
        """
        now = self._clock()
        for one in [self._of[host]] if taking else self._policies:
            if by_cluster:
                one.lost(now)
            else:
                one.died(now)

    def ask_cluster_again(self) -> None:
        """Somebody new asks for the app: see `RestartPolicy.ask_cluster_again`."""
        for one in self._policies:
            one.ask_cluster_again()

    def over(self, host: HostT) -> None:
        """A process is gone. Its policy stays, for the next one. Idempotent."""
        self._of.pop(host, None)

    def forget_deaths(self) -> None:
        """Allow a start now, however many processes have died."""
        self._policies = [RestartPolicy(self._settings)]
        self._of = dict.fromkeys(self._of, self._policies[0])

    def _free(self, taking: Collection[HostT]) -> list[RestartPolicy]:
        used = {id(self._of[host]) for host in taking}
        return [one for one in self._policies if id(one) not in used]
