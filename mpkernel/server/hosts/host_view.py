"""`HostView`: what can be seen of a host: its state, its sessions, and what it uses."""

from __future__ import annotations

from mpkernel.server.hosts.departure import Departure
from mpkernel.server.hosts.health import Health
from mpkernel.server.hosts.incoming import Incoming
from mpkernel.server.hosts.lifecycle import Lifecycle, State
from mpkernel.server.hosts.session_table import SessionTable
from mpkernel.server.launching.process import Process
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.tallies import Traffic
from mpkernel.server.supervision.usage import Usage

__all__ = ["HostView"]


class HostView:
    """The half of `AppHost` that changes nothing. `AppHost` makes the parts that are read here."""

    _process: Process
    _life: Lifecycle
    _table: SessionTable
    _departure: Departure
    _health: Health
    _incoming: Incoming

    @property
    def state(self) -> State:
        """The state that the host is in."""
        return self._life.state

    @property
    def worker(self) -> str | None:
        """The address of the cluster's worker where the process runs; "" while it waits for one.
        None: it runs on this machine."""
        elsewhere = self._process.elsewhere
        return elsewhere.where if elsewhere is not None else None

    @property
    def pid_on_worker(self) -> int | None:
        """The process id on the worker's machine; None before it was launched there, and for a
        process of this machine."""
        elsewhere = self._process.elsewhere
        return elsewhere.far_pid if elsewhere is not None else None

    @property
    def python(self) -> str | None:
        """The program of its Python where that is not the server's; None if it is, or is not known
        yet."""
        return self._process.python if self._process.requirements is not None else None

    @property
    def environment(self) -> str | None:
        """The folder of the environment that the app has for itself; None if it has none, or that
        is not known yet."""
        return self._process.environment

    @property
    def is_outdated(self) -> bool:
        """Whether it runs a copy of the app's file, and the file has changed since then."""
        elsewhere = self._process.elsewhere
        return elsewhere is not None and elsewhere.is_outdated

    @property
    def is_preparing(self) -> bool:
        """Whether its environment is still being made."""
        return self._departure.is_preparing

    @property
    def traffic(self) -> Traffic:
        """What the process and the server have sent each other."""
        return self._incoming.traffic

    @property
    def takes_sessions(self) -> bool:
        """Whether a new session may be opened here."""
        return self._life.takes_sessions

    @property
    def is_alive(self) -> bool:
        """Whether the process is starting or running."""
        return not self._life.is_over

    @property
    def session_count(self) -> int:
        """Sessions whose kernels have not ended."""
        return len(self._table)

    @property
    def computing_count(self) -> int:
        """Sessions that have been running a command for longer than a moment, and new ones."""
        return self._table.load.computing_count

    @property
    def sessions(self) -> list[BaseSession]:
        """The sessions whose kernels have not ended."""
        return self._table.sessions

    @property
    def usages(self) -> tuple[Usage, ...]:
        """The latest samples of what it uses, the oldest first."""
        return self._health.usages

    @property
    def cpus(self) -> float | None:
        """How many processors it used between the last two samples; None before the second one."""
        return self._health.cpus

    @property
    def refusal(self) -> str | None:
        """Why it takes no new sessions although it lives; None if it takes them."""
        return self._health.refusal

    @property
    def backlog_bytes(self) -> int:
        """How many bytes wait in the server because the process does not take them."""
        return self._incoming.link.backlog_bytes
