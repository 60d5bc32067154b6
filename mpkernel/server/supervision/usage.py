"""`Sampler`: measures what hosts, and all that they started, use of the machine.

The list of the machine's processes is read once for all hosts. `reading` reads one process,
`descendants` says which host a process belongs to, `verdicts` what a sample means for a host, and
`watchdog` when a sample is taken.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec
import psutil

from mpkernel.process_tree import Identity
from mpkernel.server.supervision.descendants import Descendants
from mpkernel.server.supervision.reading import Reading, descriptors_of, read_process
from shm.names import tag_of

__all__ = ["Sampler", "Usage", "cpus_of", "created_at"]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one host used at one moment.

    Attributes:
        rss_bytes: resident memory of the host and of all that it started, summed. Pages that forked
            processes share count for each of them.
        cpu_s: CPU time of the same processes, and of their children that have ended and were
            reaped.
        host_cpu_s: CPU time of the host's own process, in steps of 10 ms.
        threads: how many threads the host's own process has.
        descriptors: how many descriptors it has open; None where the system does not tell.
        processes: how many processes there are: the host and all that it started, and a wrapper
            that has started the host.
        taken_at: the time of the sample, by `time.monotonic()`.
    """

    rss_bytes: int
    cpu_s: float
    host_cpu_s: float
    threads: int
    descriptors: int | None
    processes: int
    taken_at: float


def cpus_of(usages: Sequence[Usage]) -> float | None:
    """How many processors a host used between the last two looks at it, 1.0 for one at full load;
    None while there were less than two, or no time passed between them.

    Args:
        usages: the latest looks at it, the oldest first.
    """
    if len(usages) < 2:
        return None
    before, after = usages[-2], usages[-1]
    passed_s = after.taken_at - before.taken_at
    if passed_s <= 0:
        return None
    # The sum falls when a child ends that its parent never waits for.
    return round(max(0.0, after.cpu_s - before.cpu_s) / passed_s, 2)


def created_at(pid: int) -> int:
    """When a process was created, as `Sampler.sample` takes it. It is counted by a clock that
    nobody can set; psutil's create time changes when the calendar is set. 0 if there is no such
    process, or if the time is unknown.

    Raises:
        OSError: no descriptor is left to look.
    """
    return tag_of(pid).start


class Sampler:
    """Samples hosts. It remembers from one sample to the next which processes it has looked at. For
    one thread at a time.

    With 200 processes on the machine, a sample of 40 hosts takes a millisecond of CPU time.

    Attributes:
        seen: by the process id of each host, its processes as of the last sample that could be
            taken of it. So they are still known after the host has ended. From any thread.
        unmeasured: by the process id of each host that lives and could not be sampled last time,
            the reason. From any thread.
    """

    def __init__(self) -> None:
        self._lineage = Descendants(_parent_of)
        self._identities: dict[int, Identity] = {}
        self.seen: dict[int, list[Identity]] = {}
        self.unmeasured: dict[int, Exception] = {}

    def sample(
        self,
        hosts: Mapping[int, int],
        own: Mapping[int, int] = MappingProxyType({}),
        due: Container[int] | None = None,
    ) -> dict[int, Usage]:
        """What each host uses now. A host is left out if it has ended, if its process id belongs to
        another process by now, or if this user may not look at it.

        Args:
            hosts: the time when each host was created (see `created_at`), by process id. Each host
                leads a process session of its own.
            own: the host's own process, for those that were started by a wrapper. Default: all are
                their own.
            due: the process ids of the hosts that are measured; of the others, only their processes
                are looked up. Default: all are measured.

        Raises:
            OSError: the process table could not be read.
        """
        taken_at = time.monotonic()
        self._lineage.update(_sessions())
        groups = self._lineage.groups(hosts)
        members = {pid for group in groups.values() for pid in group}
        self._identities = {pid: one for pid, one in self._identities.items() if pid in members}
        usages = {}
        unmeasured: dict[int, Exception] = {}
        for pid, created in hosts.items():
            if due is not None and pid not in due:
                continue
            try:
                usages[pid] = self._measure(
                    pid, created, own.get(pid, pid), groups.get(pid, []), taken_at
                )
            except psutil.NoSuchProcess:
                continue
            except OSError:  # this process itself cannot look, at any host
                raise
            except Exception as error:  # noqa: BLE001 (the watchdog logs it)
                unmeasured[pid] = error
        self.unmeasured = unmeasured
        self.seen = {
            host: self._identities_of(groups.get(host, ()))
            if host in usages
            else self.seen.get(host, [])
            for host in hosts
        }
        return usages

    def _identities_of(self, pids: Iterable[int]) -> list[Identity]:
        return [self._identities[pid] for pid in pids if pid in self._identities]

    def _measure(
        self, pid: int, created: int, own_pid: int, members: Iterable[int], taken_at: float
    ) -> Usage:
        """What the host and its processes use.

        Raises:
            psutil.NoSuchProcess: it has ended, or the process id belongs to another process.
            psutil.AccessDenied: this user may not look at it.
        """
        host = read_process(pid)
        if host.has_ended or host.start != created:
            raise psutil.NoSuchProcess(pid)
        readings = [host]
        own = host
        self._identities.setdefault(pid, Identity(pid, host.start))
        for member in members:
            if member != pid and (reading := self._read_member(member)) is not None:
                readings.append(reading)
                if member == own_pid:
                    own = reading
        return Usage(
            rss_bytes=sum(one.rss_bytes for one in readings),
            cpu_s=sum(one.cpu_s + one.children_cpu_s for one in readings),
            host_cpu_s=own.cpu_s,
            threads=own.threads,
            descriptors=descriptors_of(own_pid if own is not host else pid),
            processes=len(readings),
            taken_at=taken_at,
        )

    def _read_member(self, pid: int) -> Reading | None:
        """A process that a host has started; None when it cannot be read."""
        try:
            reading = read_process(pid)
        except psutil.Error:
            return None
        identity = Identity(pid, reading.start)
        if self._identities.setdefault(pid, identity) != identity:  # another process by now
            del self._identities[pid]
            self._lineage.forget(pid)
            return None
        return reading


def _sessions() -> dict[int, int]:
    """The process session of every process that may be looked at."""
    sessions = {}
    for pid in psutil.pids():
        try:
            sessions[pid] = os.getsid(pid)
        except OSError:  # it has ended, or belongs to the system
            continue
    return sessions


def _parent_of(pid: int) -> int:
    try:
        return int(psutil.Process(pid).ppid())
    except psutil.Error:  # it has ended, or may not be looked at
        return 0
