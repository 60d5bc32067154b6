"""`facts_of`: collects the facts about a process from which `placement` decides."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Protocol, TypeAlias

from mpkernel.server.apps.placement import Bounds, Decision, Facts
from mpkernel.server.apps.rebuilds import Rebuilds
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.hosts.lifecycle import State

__all__ = ["Choose", "HostFacts", "facts_of"]

HostFacts: TypeAlias = Sequence[tuple[AppHost, Facts]]

_NEW_S = 10.0
"""A process is new for so long after its launch: its sessions come back after the death of another
process, or after the end of a server, and none of them is used yet."""


class Choose(Protocol):
    """One of the decisions of `placement`."""

    def __call__(
        self, hosts: HostFacts, bounds: Bounds, *, may_start: bool
    ) -> AppHost | Decision: ...


def facts_of(
    host: AppHost,
    rebuilds: Rebuilds | None,
    outgoing: Container[AppHost],
    now: float,
    *,
    has_trial: bool = False,
) -> Facts:
    """The facts about a process.

    Args:
        host: the process.
        rebuilds: which processes rebuild sessions. None: a process is chosen for a new session, not
            for one that comes back.
        outgoing: the processes that are about to be replaced.
        now: `time.monotonic()`.
        has_trial: whether a suspect is on trial there. Default False.
    """
    sessions = host.session_count
    return Facts(
        is_starting=host.state is State.STARTING,
        refuses=host.refusal is not None,
        is_outgoing=host in outgoing,
        has_trial=has_trial,
        is_rebuilding=rebuilds is not None and rebuilds.is_recent(host),
        is_unused=rebuilds is not None
        and (sessions <= rebuilds.count(host) or now < host.started_at + _NEW_S),
        sessions=sessions,
        computing=host.computing_count,
        cpus=host.cpus or 0.0,
    )
