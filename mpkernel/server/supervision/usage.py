"""`Sampler`: measures what hosts, and all that they started, use of the machine, by psutil.

The list of the machine's processes is read once for all hosts. `descendants` says which host a
process belongs to, `verdicts` what a sample means for a host, and `watchdog` when a sample is
taken.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import psutil

from mpkernel.process_tree import Identity, stat_of
from mpkernel.server.supervision.descendants import Descendants
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
        processes: how many processes there are: the host and all that it started.
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
    """How many processors a host used lately, 1.0 for one at full load; None while it was looked at
    less than twice.

    Args:
        usages: the latest looks at it, the oldest first.
    """
    if len(usages) < 2:
        return None
    before, after = usages[-2], usages[-1]
    # What a child has used is gone from the sum when nobody waits for the child.
    return round(max(0.0, after.cpu_s - before.cpu_s) / (after.taken_at - before.taken_at), 2)


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

    With 400 processes on the machine, a sample of ten hosts with a child each takes 1.3 ms of CPU
    time, and the first one 14 ms. The same by psutil's `process_iter` takes 13 ms each time, and by
    `children` of every host 27 ms.

    Attributes:
        seen: by the process id of each host, its processes as of the last sample that could be
            taken of it. So they are still known after the host has ended. From any thread.
        unmeasured: by the process id of each host that lives and could not be sampled last time,
            the reason. From any thread.
    """

    def __init__(self) -> None:
        self._lineage = Descendants(_parent_of)
        self._hosts: dict[tuple[int, int], psutil.Process] = {}
        self._members: dict[int, psutil.Process] = {}
        self._identities: dict[int, Identity] = {}
        self.seen: dict[int, list[Identity]] = {}
        self.unmeasured: dict[int, Exception] = {}

    def sample(self, hosts: Mapping[int, int]) -> dict[int, Usage]:
        """What each host uses now. A host is left out if it has ended, if its process id belongs to
        another process by now, or if this user may not look at it.

        Args:
            hosts: the time when each host was created (see `created_at`), by process id. Each host
                leads a process session of its own.

        Raises:
            OSError: the process table could not be read.
        """
        taken_at = time.monotonic()
        self._lineage.update(_sessions())
        groups = self._lineage.groups(hosts)
        self._hosts = {key: host for key, host in self._hosts.items() if key in hosts.items()}
        members = {pid for group in groups.values() for pid in group}
        self._members = {pid: one for pid, one in self._members.items() if pid in members}
        self._identities = {pid: one for pid, one in self._identities.items() if pid in members}
        usages = {}
        unmeasured: dict[int, Exception] = {}
        for pid, created in hosts.items():
            try:
                usages[pid] = self._measure(pid, created, groups.get(pid, []), taken_at)
            except psutil.NoSuchProcess:
                continue
            except OSError:  # this process's own trouble, so that no host can be sampled
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

    def _measure(self, pid: int, created: int, members: Iterable[int], taken_at: float) -> Usage:
        """What the host and its processes use.

        Raises:
            psutil.NoSuchProcess: it has ended, or the process id belongs to another process.
            psutil.Error: this user may not look at it.
        """
        host = self._same_host(pid, created)
        with host.oneshot():
            if host.status() == psutil.STATUS_ZOMBIE:
                raise psutil.ZombieProcess(pid)
            times = host.cpu_times()
            threads = host.num_threads()
            descriptors = _descriptors_of(host)
        shares = [share for member in members if (share := self._share_of(member)) is not None]
        return Usage(
            rss_bytes=sum(rss_bytes for rss_bytes, _ in shares),
            cpu_s=sum(cpu_s for _, cpu_s in shares),
            host_cpu_s=times.user + times.system,
            threads=threads,
            descriptors=descriptors,
            processes=len(shares),
            taken_at=taken_at,
        )

    def _same_host(self, pid: int, created: int) -> psutil.Process:
        """The host as it is now.

        Raises:
            psutil.Error: it has ended, or the process id belongs to another process.
        """
        process = psutil.Process(pid)
        known = self._hosts.get((pid, created))
        same = created_at(pid) == created if known is None else process == known
        if not same:
            raise psutil.NoSuchProcess(pid)
        self._hosts[pid, created] = process
        return process

    def _share_of(self, pid: int) -> tuple[int, float] | None:
        """Resident bytes and CPU seconds of a process; None when they cannot be read."""
        try:
            process = psutil.Process(pid)
            if process != self._members.setdefault(pid, process):
                del self._members[pid]
                self._identities.pop(pid, None)
                self._lineage.forget(pid)
                return None
            if pid not in self._identities and (stat := stat_of(pid)) is not None:
                self._identities[pid] = stat.identity
            with process.oneshot():
                return process.memory_info().rss, sum(process.cpu_times()[:4])
        except psutil.Error:
            return None


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


def _descriptors_of(process: psutil.Process) -> int | None:
    try:
        return int(process.num_fds())
    except psutil.AccessDenied:  # the process runs as another user by now, or may not be traced
        return None
