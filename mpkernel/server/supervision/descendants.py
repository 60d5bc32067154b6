"""`Descendants`: finds out, once for each process of the machine, which host it belongs to. No I/O.

    in the host's process session ─┐
    a child of one of the host's ──┼──▶ the host's, until it ends: an orphan keeps its host
    the host itself ───────────────┘

`usage` reads the process ids from the system.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass

__all__ = ["Descendants"]

_NOBODY = 0


class Descendants:
    """What is known of the machine's processes, by their ids.

    If a process leaves its host's process session and its parent ends, both before it was first
    looked at, it belongs to nobody here: the system does not tell where it came from.

    Args:
        parent_of: gives a process's parent, 0 for none. Asked once for each process, as it costs
            more than all the rest.
    """

    def __init__(self, parent_of: Callable[[int], int]) -> None:
        self._parent_of = parent_of
        self._known: dict[int, _Known] = {}

    def update(self, sessions: Mapping[int, int]) -> None:
        """Take the processes that run now.

        Args:
            sessions: the process session of each, by process id.
        """
        known = {}
        for pid, session in sessions.items():
            one = self._known.get(pid)
            if one is None or (one.host is None and one.session != session):
                one = _Known(session, self._parent_of(pid))
            known[pid] = one
        for one in known.values():
            if one.parent not in known:
                one.parent = _NOBODY  # the system may give the id to another process
        self._known = known

    def forget(self, pid: int) -> None:
        """Say that another process has got this process id meanwhile."""
        self._known.pop(pid, None)

    def groups(self, hosts: Container[int]) -> dict[int, list[int]]:
        """The processes of each host, with the host itself. A host that another host has started
        does not belong to the other one."""
        children: dict[int, list[int]] = defaultdict(list)
        groups: dict[int, list[int]] = defaultdict(list)
        found = []
        for pid, one in self._known.items():
            children[one.parent].append(pid)
            if pid in hosts:
                one.host = pid
            elif one.host is None or one.host not in hosts:
                one.host = one.session if one.session in hosts else None
            if one.host is not None:
                found.append((pid, one.host))
        while found:
            pid, host = found.pop()
            groups[host].append(pid)
            for child in children[pid]:
                if self._known[child].host is None:
                    self._known[child].host = host
                    found.append((child, host))
        return groups


@dataclass(slots=True)
class _Known:
    """A process that was looked at.

    Attributes:
        session: the process session that it was in.
        parent: its parent; `_NOBODY` once that has ended.
        host: the host that it belongs to; None if it belongs to none.
    """

    session: int
    parent: int
    host: int | None = None
