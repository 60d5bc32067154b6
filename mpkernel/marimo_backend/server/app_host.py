"""The app host that marimo's sessions ask for kernels, over `App`.

marimo calls these methods on its event loop's thread and on others. Each returns at once; the page
learns of later errors through the session's own stream.

The methods are those of marimo's own host (`marimo._session.app_host.host`); none of its code runs.
"""

from __future__ import annotations

import asyncio
import pickle
import queue
import threading
from typing import Any, Protocol

from mpkernel.aio.loops import call_on_loop, result_on_loop
from mpkernel.errors import MPKernelError, SessionClosed
from mpkernel.logs import get_logger
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.server import overlay
from mpkernel.marimo_backend.server.carrying import with_carried_requests
from mpkernel.marimo_backend.server.leaving import Leaving
from mpkernel.marimo_backend.server.marimo_journal import MarimoJournal
from mpkernel.marimo_backend.server.marimo_session import MarimoSession, Pages
from mpkernel.marimo_backend.server.page_stream import PageStream
from mpkernel.marimo_backend.server.uploads import with_uploads
from mpkernel.marimo_backend.spooled import pickled
from mpkernel.server.apps.app import App
from mpkernel.server.apps.stored_sessions import is_loaded
from mpkernel.server.pool import HostPool
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel

__all__ = ["AppHostAdapter", "Shared"]

logger = get_logger(__name__)

_ENTRY = "mpkernel.marimo_backend.host.marimo_kernel:run"

_UI_ELEMENT = b"ui_element"
"""marimo's second queue, for commands that it also sends as control: a host does not need it."""

_CHANNELS = {
    b"control": Channel.CONTROL,
    b"completion": Channel.COMPLETION,
    b"input": Channel.INPUT,
}


class Shared(Protocol):
    """What an adapter needs from the pool that all apps of one event loop share.

    Attributes:
        loop: the event loop.
        hosts: the pool.
        leaving: whether and when the server ends.
    """

    loop: asyncio.AbstractEventLoop
    hosts: HostPool
    leaving: Leaving


class AppHostAdapter:
    """marimo's `AppHost`, for one notebook file of one session manager. It stays the same when
    the app's process is replaced.

    Args:
        app: absolute path of the file.
        shared: the pool.
        pages: the pages of the manager's sessions.
        sandbox: whether the notebook, if it has a header, runs in an environment of its own,
            whatever the setting `sandbox` says.
    """

    def __init__(self, app: str, shared: Shared, pages: Pages, *, sandbox: bool = False) -> None:
        self._app = app
        self._shared = shared
        self._pages = pages
        self._sandbox = sandbox
        self._lock = threading.Lock()  # guards all below
        self._sessions: dict[str, MarimoSession] = {}
        self._streams: dict[str, PageStream] = {}  # registered, but without a kernel so far
        self._owner: App | None = None

    @property
    def pid(self) -> int | None:
        """The process's id, None while there is none."""
        hosts = self._owner.hosts if self._owner is not None else []
        return hosts[0].pid if hosts else None

    def start(self) -> None:
        """Does nothing: the process starts with the first kernel."""

    def is_alive(self) -> bool:
        """Whether kernels can be created. They always can: the process is started when needed."""
        return True

    @property
    def is_idle(self) -> bool:
        """Whether this adapter has no sessions, and a new one could replace it. From any thread."""
        with self._lock:
            is_used = self._sessions or self._streams or (self._owner and self._owner.hosts)
            return not is_used

    def register_stream(self, session_id: str, stream: queue.Queue[bytes | None]) -> None:
        """Have the kernel's messages for a session put into `stream`."""
        with self._lock:
            self._streams[session_id] = PageStream(stream, self._shared.loop)

    def unregister_stream(self, session_id: str) -> None:
        """Drop a session's messages from now on. If the stream is that of a kernel that was
        refused, only this stream is dropped: another session of the same name keeps its own."""
        with self._lock:
            if self._streams.pop(session_id, None) is not None:
                return
            session = self._sessions.get(session_id)
        if session is not None:
            session.notices.stream = None

    def create_kernel(
        self, session_id: str, *, app_metadata: Any, log_level: int, **arguments: Any
    ) -> Any:
        """Start a kernel for a session; returns (marimo's) `KernelCreatedResponse` at once.

        Raises:
            KernelStartupError: (marimo's) no process could be launched, the app died too often, a
                session of this name is open already, or anything else went wrong: marimo tells the
                page of no other error.
        """
        arguments |= {"app_metadata": app_metadata, "log_level": log_level}
        try:
            kernel = KernelSpec(
                entry=_ENTRY,
                args=pickle.dumps(arguments, pickle.HIGHEST_PROTOCOL),
                argv=tuple(app_metadata.argv or ()),
                sandbox=True if self._sandbox else None,
                requirements=overlay.requirements(),
                left_out=overlay.left_out(),
            )
            result_on_loop(self._shared.loop, lambda: self._open(session_id, kernel, arguments))
        except Exception as error:
            with self._lock:
                if session_id not in self._sessions:  # else, marimo calls `unregister_stream`
                    self._streams.pop(session_id, None)
            said = self._refused("no kernel could be created", error, session_id)
            raise seam.server("KernelStartupError")(said) from error
        return seam.server("KernelCreatedResponse")(session_id=session_id, success=True)

    def _open(self, session_id: str, kernel: KernelSpec, arguments: dict[str, Any]) -> None:
        owner = self._shared.hosts.app(self._app, kernel)
        owner.import_folders = _pythonpath(arguments)
        journal = MarimoJournal(
            kernel,
            arguments,
            max_bytes=owner.settings.journal_bytes,
            max_files_bytes=owner.settings.journal_files_bytes,
            for_far=owner.settings.cluster is not None,
        )
        with self._lock:
            stream = self._streams.get(session_id)
        arrival = self._pages.arrival(session_id)
        session = MarimoSession(
            owner,
            session_id,
            stream,
            journal,
            loop=self._shared.loop,
            pages=self._pages,
            arrival=arrival,
        )
        stored = arrival.journal if arrival is not None and arrival.app == self._app else None
        if stored is not None and is_loaded(journal, stored, session_id):
            session.come_back()
        owner.open(session, kernel)
        if arrival is not None:
            self._shared.hosts.stored.keep(session, arrival.key)
            if arrival.shared_key:
                self._shared.hosts.stored.keep_shared(session, arrival.shared_key)
        with self._lock:
            self._streams.pop(session_id, None)
            self._sessions[session_id] = session
            self._owner = owner

    def stop_kernel(self, session_id: str) -> None:
        """End a session's kernel; returns at once."""
        with self._lock:
            session = self._sessions.pop(session_id, None)
            self._streams.pop(session_id, None)
        if session is not None:
            session.notices.stream = None
            leaving = self._shared.leaving.begun
            patience_s = self._shared.hosts.settings.drain_grace_s if leaving else 0.0
            session.stop(patience_s=patience_s, may_come_back=True)

    def send_command(self, session_id: str, channel: Any, payload: object) -> None:
        """Send a command to a session's kernel. A refused one becomes an alert on the page."""
        if channel.value == _UI_ELEMENT:
            return
        session = self._sessions.get(session_id)
        if session is None:
            logger.debug(
                "a command was dropped: there is no such session", app=self._app, session=session_id
            )
            return
        if isinstance(payload, seam.server("CreateNotebookCommand")):
            session.notices.again()  # from this command on, the page gets what it is sent
        try:
            command = with_uploads(with_carried_requests(payload))
            payload_sent = pickled(session.beginning(command), for_far=session.is_far)
            session.send(_CHANNELS[channel.value], payload_sent, command=command)
        except SessionClosed as error:
            logger.debug("a command came after the end of its session: %s", error)
        except Exception as error:  # noqa: BLE001 (marimo would ignore it)
            said = self._refused("command refused", error, session_id)
            if isinstance(payload, seam.server("CreateNotebookCommand")):
                session.notices.failure("This app cannot run", said)
            else:
                session.notices.refusal("Not sent to the app", said)

    def _refused(self, what: str, error: Exception, session_id: str) -> str:
        """Log why something was refused. Returns what to tell the page."""
        ours = isinstance(error, MPKernelError)
        logger.warning(
            "%s: %s",
            what,
            error,
            app=self._app,
            session=session_id,
            exc_info=None if ours else error,
        )
        return str(error) if ours else f"{type(error).__name__}: {error}"

    def page_is_back(self, session_id: str) -> None:
        """The page of a session has connected again. On the loop's thread."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.page_is_back()

    def page_cut_off(self, session_id: str) -> None:
        """Messages that waited for the page of a session are lost. On the loop's thread."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.page_cut_off()

    def uploading(self, session_id: str, text: str) -> None:
        """Tell the page of a session how far its upload is; see `Notices.uploading`. On the loop's
        thread."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.notices.uploading(text)

    def has_active_session(self, session_id: str) -> bool:
        """Whether a session's kernel runs, or is about to; or its page has yet to reload: marimo
        would tell it that the kernel has stopped."""
        session = self._sessions.get(session_id)
        return session is not None and (session.must_reload or not session.over)

    def shutdown(self) -> None:
        """End this app's process."""
        if self._owner is not None:
            call_on_loop(self._shared.loop, self._owner.leave)


def _pythonpath(arguments: dict[str, Any]) -> tuple[str, ...]:
    """The folders that marimo's setting `pythonpath` adds to the import path."""
    folders = arguments["user_config"]["runtime"].get("pythonpath") or ()
    return tuple(folder for folder in folders if isinstance(folder, str))
