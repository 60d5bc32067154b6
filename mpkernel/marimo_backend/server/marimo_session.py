"""`MarimoSession`: a session whose client is one of marimo's pages."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from mpkernel.errors import (
    AppUnavailable,
    ClusterError,
    HostUnresponsive,
    MPKernelError,
    ProtocolError,
    SandboxError,
    SessionClosed,
    UnfitPython,
)
from mpkernel.logs import get_logger
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.crossing import CLICK_UNDONE, WIDGET_SHOWN
from mpkernel.marimo_backend.server.arrivals import (
    RESTARTED,
    Arrival,
    StoredPage,
    digest_of,
    reload_message,
)
from mpkernel.marimo_backend.server.elements import texts_of
from mpkernel.marimo_backend.server.marimo_journal import MarimoJournal
from mpkernel.marimo_backend.server.notices import Notices, described
from mpkernel.marimo_backend.server.outflow import Outflow
from mpkernel.marimo_backend.server.page_stream import PageStream
from mpkernel.server.apps.app import App
from mpkernel.server.sessions.app_and_host import HostOfSession
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.deaths import Death
from mpkernel.wire.frames import MESSAGE_COST_BYTES, Channel

__all__ = ["MarimoSession"]

logger = get_logger(__name__)

_SPARE_MESSAGES = 1024
"""How many messages more than the window allows may be on their way."""

_LAST_ACTION = "The last action in this tab ended it, and was left out."
_FIRST_RUN = "Its process ended while the cells ran. They run once more."
_CLICK_LOST = "a click that may not have been done (look before you click again)"


class Pages(Protocol):
    """The pages of a server's sessions. On the loop's thread."""

    def arrival(self, session_id: str) -> Arrival | None:
        """What is stored of a session that a page is about to open."""
        ...

    def loaded(self, app: str, cells: str, since: float) -> None:
        """marimo has loaded a notebook, with cells of this digest, later than at `since`."""
        ...

    def is_edited(self, session_id: str, app: str, cells: str) -> bool:
        """Whether a session's notebook has other cells than those of this digest."""
        ...

    def hold(self, key: str, app: str, content: bytes, why: str) -> None:
        """Give this to the page that reloads and asks for the session of this key."""
        ...

    def messages_waiting(self, session_id: str) -> int:
        """How many messages the slowest page of a session has not taken."""
        ...

    def when_moved(self, session_id: str, call: Callable[[], None]) -> None:
        """Call this once when a page of a session has taken a message, or is gone."""
        ...

    def has_page(self, session_id: str) -> bool:
        """Whether a page of a session is connected."""
        ...

    def show_again(self, session_id: str) -> None:
        """Send the page of a session all that the session shows now."""
        ...


@dataclasses.dataclass
class _Missed:
    """What to tell a page that was away, when it connects again.

    Attributes:
        description, variant: those of the banner.
        restarted_at: when the session was restored; `time.monotonic()`.
        was_away: whether no page was connected at some moment since then.
    """

    description: str
    variant: str | None
    restarted_at: float
    was_away: bool = False


class MarimoSession(BaseSession):
    """A session whose messages go to marimo's session of the same name.

    marimo takes every message at once and without limit. So credit is given for messages that have
    been sent to the page.

    Args:
        app, session_id: see `BaseSession`.
        stream: leads to marimo's session; None when there is none.
        journal: what is needed to restore the session.
        loop: the running loop.
        pages: the pages of this and other sessions; called on the loop's thread.
        arrival: how it is stored. Default: not at all.

    Attributes:
        notices: what its page is told, by the stream.
        is_far: whether its processes are on other machines.
        must_reload: whether its page has to reload, and does not know it if it is away.
    """

    def __init__(
        self,
        app: App,
        session_id: str,
        stream: PageStream | None,
        journal: MarimoJournal,
        *,
        loop: asyncio.AbstractEventLoop,
        pages: Pages,
        arrival: Arrival | None = None,
    ) -> None:
        super().__init__(app, session_id, journal)
        self._arrival = arrival
        self._cells = ""
        self._is_coming_back = False
        self.is_far = app.settings.cluster is not None
        self.must_reload = False
        self.notices = Notices(stream)
        self._pages = pages
        self._outflow = Outflow(
            loop,
            self._waiting_messages,
            self.taken,
            functools.partial(pages.when_moved, session_id),
            most_messages=app.settings.window_bytes // MESSAGE_COST_BYTES + _SPARE_MESSAGES,
        )
        self._marimo_journal = journal
        self._was_created = False
        self._missed: _Missed | None = None
        self._lost_before: tuple[str, ...] | None = None  # until a lost click is known, too
        self._is_cut_off = False

    @property
    def unread_bytes(self) -> int:
        return self._outflow.bytes_on_the_way

    def send(self, channel: Channel, payload: bytes, command: object = None) -> None:
        """See `BaseSession.send`. Long texts, which are not in the payload, are limited, too."""
        if not isinstance(command, seam.server("UpdateUIElementCommand")):
            super().send(channel, payload, command)
            return
        size = sum(text.size for value in command.values for text in texts_of(value))
        with self._lock:
            self._check_texts(size)
            super().send(channel, payload, command)

    def _check_texts(self, size: int) -> None:
        if size > self._max_frame_bytes:
            raise ProtocolError(
                f"uploaded files of {size} bytes are over the limit of {self._max_frame_bytes}",
                remedy="upload smaller ones, or raise max_frame_bytes",
            )
        untaken = self._marimo_journal.untaken_text_bytes if size else 0
        if untaken and untaken + size > self._max_frame_bytes:
            raise HostUnresponsive(
                f"the kernel of session {self.session_id} of {self.app.name} has yet to take"
                f" uploaded files of {untaken} bytes",
                remedy="wait until it answers again, or close the session",
            )

    def come_back(self) -> None:
        """Begin with the values that were stored, which the journal has taken over."""
        self._is_coming_back = self.record.was_stored = True

    def beginning(self, command: Any) -> Any:
        """What to send for a command: of a session that comes back, the first run of the cells has
        the values that were stored. Its page is told."""
        if not isinstance(command, seam.server("CreateNotebookCommand")) or self._arrival is None:
            return command
        with self._lock:
            self._cells = digest_of(one.code for one in command.execution_requests)
            self._pages.loaded(self.app.path, self._cells, self._arrival.since)
            is_coming_back, self._is_coming_back = self._is_coming_back, False
            if not is_coming_back:
                return command
            command, lost = self._marimo_journal.begin_anew(command)
        logger.info("session came back", app=self.app.path, session=self.session_id)
        if self._arrival.title == RESTARTED:  # otherwise the clicks were made in another tab
            self._lost_before = lost
            self.notices.unanswered(self._marimo_journal.unanswered())
        self._show_arrived(self._arrival, lost)
        return command

    def _show_arrived(self, arrival: Arrival, lost: tuple[str, ...]) -> None:
        missed = _Missed(described(arrival.why, lost), None, time.monotonic())
        self._show_restarted(missed, arrival.title)

    def _tell_of_lost_click(self) -> None:
        """Tell the page of a lost click, once. The host reports it again whenever the cell of the
        button runs again."""
        lost, self._lost_before = self._lost_before, None
        if lost is not None and self._arrival is not None:
            self._show_arrived(self._arrival, (*lost, _CLICK_LOST))

    def kept(self) -> bytes | None:
        """See `BaseSession.kept`."""
        with self._lock:
            journal = super().kept()
            if journal is None or self._arrival is None:
                return None
            return msgspec.msgpack.encode(StoredPage(self._arrival.token, self._cells, journal))

    def created(self, thread: int) -> None:
        super().created(thread)
        self._was_created = True

    def on_message(self, channel: Channel, payload: bytes) -> None:
        count = len(payload) + MESSAGE_COST_BYTES
        stream = self.notices.stream
        if stream is None or payload.startswith((WIDGET_SHOWN, CLICK_UNDONE)):
            self.taken(count)
            if payload.startswith(CLICK_UNDONE):
                self._tell_of_lost_click()
            return
        self._outflow.sent(count)
        stream.put(payload)
        if self._missed is not None and self.record.is_rebuilding:
            self._note_absence(self._missed)

    def suspend(self) -> None:
        super().suspend()
        self._outflow.forget()

    def resume(
        self, host: HostOfSession[BaseSession], *, without_running: bool, alone: bool
    ) -> tuple[str, ...]:
        """See `BaseSession.resume`. If the notebook was edited, its page keeps the old cells, and
        the new ones would not fit to it: it reloads, and its new session begins where this one is.

        Raises:
            SessionClosed: the page reloads; or as there.
        """
        cells, arrival = self._cells, self._arrival
        if (
            arrival is None
            or not cells
            or not self._pages.is_edited(self.session_id, self.app.path, cells)
        ):
            return super().resume(host, without_running=without_running, alone=alone)
        with self._lock:
            self._marimo_journal.rebuild(without_running=without_running)
            content = self.kept()
            self.copies.end(may_come_back=True)
        if content is not None:
            why = "The notebook was changed, and its process was started again."
            self._pages.hold(arrival.key, self.app.path, content, why)
        self.must_reload = True
        self._tell_to_reload()
        raise SessionClosed(f"the page of session {self.session_id} of {self.app.name} reloads")

    def _tell_to_reload(self) -> None:
        if self.notices.stream is not None:
            self.notices.stream.put(reload_message(self.session_id))

    def on_recovered(self, death: Death, lost: tuple[str, ...], *, guilty: bool) -> None:
        if not self._was_created:
            return  # it had no process before, and nothing to restore
        logger.warning(
            "session restarted: %s guilty=%s",
            death.what,
            guilty,
            app=self.app.path,
            session=self.session_id,
        )
        self.notices.unanswered(self._marimo_journal.unanswered())
        why = _FIRST_RUN if self._marimo_journal.repeats_first_run else _LAST_ACTION
        description = described(why if guilty else "", lost)
        self._missed = _Missed(description, "danger" if guilty else None, time.monotonic())
        self._note_absence(self._missed)
        self._show_restarted(self._missed)

    def on_waiting(self, back: int, all_of_them: int) -> None:
        if not self._was_created:
            return  # else nothing would replace the banner later
        self.notices.waiting(back, all_of_them)

    def page_cut_off(self) -> None:
        """The connection of the page is ended, and messages that waited for it are lost."""
        self._is_cut_off = True

    def page_is_back(self) -> None:
        """The page has connected again. If it was cut off, or was away while the session was
        restored, it is sent all that the session shows now. In the second case it is sent the
        banner, too."""
        if self.must_reload:
            self._tell_to_reload()
            return
        missed, self._missed = self._missed, None
        was_cut_off, self._is_cut_off = self._is_cut_off, False
        # The server may learn much later that a connection was lost. But a page that has sent
        # something since the restart was there.
        if missed is not None and not (missed.was_away or self.acted_at < missed.restarted_at):
            missed = None
        if missed is not None or was_cut_off:
            self._pages.show_again(self.session_id)
        if missed is not None:
            self._show_restarted(missed)
        else:
            self.notices.again()

    def _note_absence(self, missed: _Missed) -> None:
        missed.was_away = missed.was_away or not self._pages.has_page(self.session_id)

    def _show_restarted(self, missed: _Missed, title: str = RESTARTED) -> None:
        self.notices.banner(title, missed.description, missed.variant)

    def on_end(self, error: MPKernelError | None) -> None:
        if error is None or self.notices.stream is None:
            return
        logger.warning("session ended: %s", error.what, app=self.app.path, session=self.session_id)
        if isinstance(error, SandboxError):
            self.notices.failure("The packages of this app cannot be installed", str(error))
            return
        if isinstance(error, UnfitPython):
            self.notices.failure("This app's Python cannot run it", str(error))
            return
        if isinstance(error, ClusterError):
            self.notices.failure("This app cannot run on its cluster", str(error))
            return
        reload = "reload the page to start it again"
        remedy = error.remedy if isinstance(error, AppUnavailable) else reload
        what = error.what.splitlines()[0].removesuffix(":")  # lines of a traceback may follow
        self.notices.failure("This app stopped", f"{what}: {remedy}.")

    def on_preparing(self, text: str, *, is_placed: bool) -> None:
        self.notices.preparing(text, is_placed=is_placed)

    def on_prepared(self) -> None:
        self.notices.prepared()

    def on_file_refused(self, error: Exception) -> None:
        self.notices.file_refused(str(error))

    def _waiting_messages(self) -> int:
        stream = self.notices.stream
        return (
            0 if stream is None else stream.waiting + self._pages.messages_waiting(self.session_id)
        )
