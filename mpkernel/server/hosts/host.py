"""`AppHost`: one app's process, the state it is in and the sessions on it.

It is made of these parts:

    Process       the process that runs the app, see `launching.process`
    Incoming      takes the messages of the process
    Lifecycle     which state may follow which
    Health        whether the process is well; ends it if it is not
    Departure     how a healthy process becomes ready, drains and leaves
    Ending        notices that the process has ended, and cleans up
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from mpkernel.errors import MPKernelError
from mpkernel.logs import get_logger
from mpkernel.server.hosts.departure import Departure
from mpkernel.server.hosts.ending import Ending
from mpkernel.server.hosts.health import Health
from mpkernel.server.hosts.host_view import HostView
from mpkernel.server.hosts.incoming import Incoming
from mpkernel.server.hosts.lifecycle import Lifecycle
from mpkernel.server.hosts.owner import Owner
from mpkernel.server.hosts.session_table import SessionTable
from mpkernel.server.hosts.setup import create_kernel, setup_of, told_as_start_error
from mpkernel.server.launching.process import Process
from mpkernel.server.links.console_relay import ConsoleRelay
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.death_evidence import DeathEvidence
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.watchdog import Watchdog
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel
from mpkernel.wire.messages import DownMessage, GiveUpFree, Ping, encode
from shm import Registry

__all__ = ["AppHost"]

logger = get_logger(__name__)


class AppHost(HostView):
    """A live app host. It is made on the loop's thread; `send` and `open` may be called from any.
    Making it tells the process which app to run; sessions may be opened at once.

    Args:
        owner: the app. It is told of the process's end, on the loop's thread.
        process: its process, fresh or warm. From now on it belongs to the host.
        loop: the running loop.
        relay: where its console output goes.
        files: where its virtual files are registered.
        watchdog: samples and pings its process.
        argv: `sys.argv` in the process.
        on_shortage: called when the process has found no shared memory.

    Attributes:
        app: absolute path of the app's file.
        name: the app's short name.
        settings: the app's.
        pid: its process id; on a cluster, a number of the server's, see `pid_on_worker`.
        started_at: when it was launched, or adopted; `time.monotonic()`.

    Raises:
        HostStartError: no descriptor or thread is left to connect the process, or `argv` is too
            large for a message. The process is ended then.
    """

    def __init__(
        self,
        owner: Owner[AppHost],
        process: Process,
        loop: asyncio.AbstractEventLoop,
        relay: ConsoleRelay,
        files: Registry,
        watchdog: Watchdog[Health],
        argv: Sequence[str] = (),
        on_shortage: Callable[[], None] = lambda: None,
    ) -> None:
        self.app = owner.path
        self.name = owner.name
        self.settings = owner.settings
        self.pid = process.pid
        self.started_at = time.monotonic()
        self._owner = owner
        self._process = process
        self._loop = loop
        self._incoming: Incoming
        self._life = Lifecycle()
        self._table = SessionTable(
            owner.path, loop, self._on_exit, lambda session, error: owner.left([session], error)
        )
        self._evidence = DeathEvidence(owner.path, owner.name, loop)
        self._ending: Ending[AppHost]
        self._departure = Departure(
            owner,
            process,
            self._life,
            self._table,
            self._evidence,
            loop,
            self._tell,
            may_retire=functools.partial(owner.may_retire, self),
            on_change=functools.partial(owner.host_changed, self),
        )
        self._health = Health(
            owner,
            process,
            self._life,
            self._evidence,
            watchdog,
            loop,
            send_ping=lambda number: self._tell(Ping(number)),
            drain=self._departure.drain,
        )
        with told_as_start_error(self.name):
            self._connect(relay, files, argv, on_shortage)
        logger.info("host started", app=self.app, pid=self.pid)

    def open(self, session: BaseSession, kernel: KernelSpec) -> None:
        """Have the host start a kernel for `session`. Messages may be sent to it at once.

        Raises:
            ProtocolError: `kernel.args` is too large for a message. The host does not know the
                session then.
        """
        payload = encode(create_kernel(session.session_id, kernel, self.settings))
        self._table.add(session)
        try:
            self.send(Channel.MANAGEMENT, session.number, payload)
        except BaseException:
            self._table.remove(session)
            raise
        session.host = self
        self._table.joined(session)

    def send(
        self, channel: Channel, session: int, payload: bytes, *, refusable: bool = True
    ) -> None:
        """See `Link.send`."""
        self._incoming.link.send(channel, session, payload, refusable=refusable)

    def taken(self, number: int, count: int) -> None:
        """The client of the session of this number took so many bytes of messages. From any
        thread."""
        self._incoming.credits.taken(number, count)

    def last_lines(self) -> list[str]:
        """The last lines that the process wrote to its console, and what faulthandler wrote."""
        return self._evidence.lines()

    async def close(self) -> None:
        """Ask the process to leave, kill it after `Settings.stop_grace_s`, and wait for its end. If
        it does not end within 5 s of SIGKILL, it is given up. This may be called
        twice, and may be cancelled: the end that was begun goes on.
        """
        self.leave()
        await self._ending.force(self.settings.stop_grace_s)

    def drain(self, *, patience_s: float | None = None) -> None:
        """Take no more sessions, and leave when the last one has ended. On the loop's thread;
        returns at once.

        Args:
            patience_s: end each session after its present command, and interrupt that command after
                so many seconds. Default: sessions end when their clients close them.
        """
        self._departure.drain(patience_s)

    async def wait_over(self) -> None:
        """Wait until the process has ended."""
        await self._ending.wait()

    def leave(self) -> None:
        """Leave now, with all sessions. On the loop's thread; returns at once."""
        self._departure.leave()

    def leave_for(self, reason: Reason, error: MPKernelError) -> None:
        """Leave now, for a reason that the sessions and the log are told. Sessions with a journal
        come back on another process. On the loop's thread; returns at once."""
        self._departure.leave_for(reason, error)

    def kill(self) -> None:
        """End the process and all that it started, now. From any thread."""
        self._process.kill()

    def kill_and_reap(self) -> None:
        """The same, and wait for its end. This is for a server that ends without its loop. From any
        thread. Descriptors that a loop may still watch stay open."""
        self._ending.kill_and_reap()

    def give_up_free(self) -> None:
        """Have the process give up shared memory that it keeps to use again."""
        self._incoming.files.let_go()
        if self._health.answers_pings and not self.backlog_bytes:  # else it would not read it
            self._tell(GiveUpFree())

    def _connect(
        self,
        relay: ConsoleRelay,
        files: Registry,
        argv: Sequence[str],
        on_shortage: Callable[[], None],
    ) -> None:
        process = self._process
        with ExitStack() as undo:
            undo.callback(process.close_console)
            undo.callback(process.close)
            self._health.watch()
            undo.callback(self._health.unwatch)
            self._incoming = Incoming(
                self._owner,
                process,
                self._health,
                self._departure,
                self._table,
                files,
                self._loop,
                on_shortage,
            )
            undo.callback(self._incoming.link.close)
            self._ending = Ending(
                self,
                self._owner,
                process,
                self._life,
                self._table,
                self._evidence,
                self._health,
                self._departure,
                self._incoming,
                self._loop,
            )
            undo.callback(self._ending.stop_watching)
            self._departure.starting(self._health.start_timed_out)
            self._tell(setup_of(self._owner, process, argv, self._incoming.files, undo))
            # This is the last step: from now on the relay closes these descriptors.
            self._evidence.tail = relay.add(
                self.name,
                app=self.app,
                pid=process.pid,
                stdout=process.stdout,
                stderr=process.stderr,
                faults=process.faults,
                on_text=self._incoming.console.on_text,
                on_end=self._on_console_end,
            )
            undo.pop_all()

    def _tell(self, message: DownMessage) -> None:
        self.send(Channel.MANAGEMENT, 0, encode(message))

    def _on_exit(self, number: int) -> None:
        self._incoming.session_ended(number)
        self._departure.session_ended()

    def _on_console_end(self) -> None:
        """On the relay's thread."""
        self._process.close_console()
        self._evidence.console_ended()
