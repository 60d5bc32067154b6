"""`Process` and `Launcher`: what the server needs of an app's process, and of what starts one.

    Launcher ── launch ──▶ Process ── connect ──▶ Link            frames, both ways
                              ├── stdout, stderr, faults          what it writes, as descriptors
                              ├── death_fd, status                that it ended, and how
                              └── kill, end_strays, reap, close   its end, and what is left of it

Those of this machine are `local_process` and `local_launcher`. `tests/server/process_contract.py`
tests what must hold for every process.

The order at a process's end: `death_fd` is readable and `status` known, the link is drained and
closed, then `close`, and `end_strays` for what it has left running. Its console is read to the end
meanwhile; then `close_console`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from mpkernel.errors import UnfitPython
from mpkernel.process_tree import Identity
from mpkernel.server.launching.other_python import PythonOfApp
from mpkernel.server.launching.wanted_python import WantedPython
from mpkernel.server.launching.wrapping import HandedFolder, Wrapper
from mpkernel.server.links.link import Link, LinkEvents
from mpkernel.server.supervision.exit_status import ExitStatus
from mpkernel.server.supervision.usage import Usage
from mpkernel.settings import Settings
from mpkernel.wire.before_host import Hello
from shm.names import ProcessTag
from shm.sources import Reader, SourceKind

__all__ = [
    "KILLED_WITHIN_S",
    "AppToLaunch",
    "Elsewhere",
    "Launcher",
    "Process",
    "ProcessToLaunch",
    "launched_as",
]

KILLED_WITHIN_S = 5.0
"""How long to wait for the end of a process that was killed."""


class Elsewhere(Protocol):
    """A process on another machine. It answers what the server cannot find out itself."""

    @property
    def where(self) -> str:
        """Where it runs, for people; empty while no place has been found for it."""

    @property
    def far_pid(self) -> int | None:
        """Its process id there; None before it was launched. Processes of two machines may have the
        same."""

    @property
    def is_outdated(self) -> bool:
        """Whether it runs a copy of the app's file, and the file has changed since then."""

    def usage(self) -> Usage | None:
        """What it used when that was last measured there, with the time by the server's clock; None
        before the first measurement."""

    def open_file(self, kind: SourceKind, location: str, size: int) -> Reader:
        """Open one of its virtual files. Returns at once; reading waits for the other machine."""


class Process(Protocol):
    """A process that was launched, and whose owner ends it with `close` and `close_console`."""

    @property
    def pid(self) -> int:
        """Its process id. Of a process elsewhere: a number that no process of this machine and no
        other process of this server has."""

    @property
    def elsewhere(self) -> Elsewhere | None:
        """What it is asked on another machine. None: it runs on this one."""

    @property
    def python(self) -> str:
        """The program that was launched, for messages. It may change while the process is not
        launched yet."""

    @property
    def environment(self) -> str | None:
        """Absolute path of the environment that was made for the app; None if none was."""

    @property
    def requirements(self) -> tuple[str, ...] | None:
        """What must be installed where it runs. None: it has the server's Python, and the packages
        of it; it does not say `Hello`."""

    @property
    def stdout(self) -> int:
        """A descriptor from which the server reads what the process, and what it started, write
        to their descriptor 1. It is at its end when all of these are gone."""

    @property
    def stderr(self) -> int:
        """A descriptor like `stdout`, for what they write to their descriptor 2."""

    @property
    def faults(self) -> int:
        """A descriptor like `stdout`, for what `faulthandler` writes."""

    @property
    def death_fd(self) -> int:
        """A descriptor that becomes readable when the process ends, or a moment before."""

    def connect(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        events: LinkEvents,
        *,
        backlog_bytes: int,
        max_frame_bytes: int,
    ) -> Link:
        """Send to the process, and take what it sends, from now on. There is one link at a time:
        when one is closed at the end of a frame, the next one goes on after it.

        Args:
            name: the app's name, for messages.
            loop: the loop on whose thread frames are handed over.
            events: what the link calls.
            backlog_bytes: how many bytes are kept that the process does not take.
            max_frame_bytes: the largest frame, both ways.

        Raises:
            OSError: the loop cannot watch what connects them.
        """

    def status(self) -> ExitStatus | None:
        """How the process ended; None while it lives. Returns at once, and leaves it unreaped."""

    @property
    def host_pid(self) -> int:
        """The process id of the host, for the server. It is not `pid` where a wrapper was launched,
        which has started the host."""

    @property
    def host_tag(self) -> ProcessTag:
        """What names the host's blocks."""

    @property
    def folder(self) -> HandedFolder | None:
        """Where its virtual files lie. None: it makes blocks, or temporary files, as it sees
        fit."""

    @property
    def is_known(self) -> bool:
        """Whether the server knows which process it is and which Python it has: it was launched
        without a wrapper on the server's Python, or its `Hello` has said so."""

    def accept(self, hello: Hello) -> UnfitPython | None:
        """Take the `Hello` of the process. Returns why its Python cannot be used; None if it can.

        Raises:
            ProtocolError: it was not asked, or says it again.
        """

    def kill(self) -> None:
        """Have the process, and all that it started, killed. From any thread; harmless when it is
        gone."""

    def end_strays(self, seen: Iterable[Identity] = ()) -> None:
        """The process has ended: end what it has left running. Blocks for some milliseconds, for
        2 s at the longest: off the loop.

        Args:
            seen: processes that are known to be started by it.
        """

    def reap(self, *, within_s: float = KILLED_WITHIN_S) -> None:
        """Kill the process if it lives, and wait for its end; `end_strays` comes next. From any
        thread. Idempotent.

        Args:
            within_s: after so long without its end, it is left as it is, with a warning.
        """

    def close(self, *, within_s: float = KILLED_WITHIN_S) -> None:
        """`reap`, and close what its link and `death_fd` stand on. To be called
        when nobody watches them any more: the system gives their numbers to others. Idempotent."""

    def close_console(self) -> None:
        """Close `stdout`, `stderr` and `faults`, once, when their reader is done with them."""


def launched_as(process: Process) -> str:
    """The program that was launched, with the machine if that is another one; for messages."""
    elsewhere = process.elsewhere
    if elsewhere is None:
        return process.python
    return f"{process.python}, on the worker {elsewhere.where}"


class AppToLaunch(NamedTuple):
    """The app that a process is launched for.

    Attributes:
        path: absolute path of its file.
        settings: its settings.
        python: the Python that it asks for, to be looked up on a machine that is not this one.
            Default: the server's.
    """

    path: str
    settings: Settings
    python: WantedPython | None = None


class ProcessToLaunch(NamedTuple):
    """What a launcher is asked for.

    Attributes:
        name: the process's name, for logs and messages.
        env: its variables, to which marks of our own may be added. Default: the server's.
        python: with what it runs on this machine. If that must be made first, the process says so,
            and is the longer not ready. Default: the server's Python. See also `AppToLaunch`.
        wrapper: what starts that Python. Default: the server itself.
        app: the app that it is for. Default: that is not known yet.
    """

    name: str
    env: Mapping[str, str] | None = None
    python: PythonOfApp | None = None
    wrapper: Wrapper | None = None
    app: AppToLaunch | None = None


class Launcher(Protocol):
    """Starts processes of apps."""

    def is_local(self, settings: Settings) -> bool:
        """Whether the process of an app with these settings will run on this machine."""

    def launch(self, order: ProcessToLaunch) -> Process:
        """Start a process that waits to be told what it is for. Returns at once, long before the
        process is ready.

        Raises:
            HostStartError: it was refused, and why.
        """

    def close(self) -> None:
        """No process will be launched any more: end what was opened to launch them. Returns at
        once. From any thread. Idempotent."""
