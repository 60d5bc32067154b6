"""`Arrivals`: pages that connect with a session which the server does not have.

    page connects ─▶ is there such a session in marimo's server? ─ yes ─▶ marimo's affair
                         │ no
                         ▼
                     in the store? ─ no ──▶ a new session, which is stored from now on. It begins
                         │ yes              with what this browser had last, if the setting
                         │                  session_store_scope is "browser" and the reader did
                         │                  not choose to start afresh
                         ▼
                     has the notebook been edited since this page was loaded?
                         │ no ─▶ the session begins with the values that were stored
                         │ yes
                         ▼
                     the page is told to reload, and says which session it had when it connects
                     again: the new one begins with the values whose elements are still the same

marimo's page keeps the cells that it was loaded with when it connects again. So the page of an
edited notebook has to be loaded anew. marimo also knows outdated pages by a token, and refuses what
they send. marimo's own token is different in each server process; here the token stays the same as
long as the notebook does.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qs, parse_qsl, urlencode

import msgspec

from mpkernel.logs import get_logger
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.server.authority import authority_of
from mpkernel.marimo_backend.server.browsers import browser_of
from mpkernel.marimo_backend.server.known_cells import KnownCells
from mpkernel.marimo_backend.versions import check_marimo
from mpkernel.server.apps.stored_sessions import StoredSessions
from mpkernel.server.store.session_store import Taken, key_of
from mpkernel.server.workers.same_server import is_started_by_a_supervisor
from mpkernel.version import __version__
from mpkernel.wire.messages import UNDECODABLE

__all__ = [
    "LAST_VISIT",
    "RESTARTED",
    "Arrival",
    "Arrivals",
    "StoredPage",
    "digest_of",
    "former_session",
    "reload_message",
    "tell_to_reload",
]

logger = get_logger(__name__)

RESTARTED = "This app was restarted"
LAST_VISIT = "This tab begins as your last one was"
"""The titles of banners."""

_FORMER = "mpkernel_former"
_AFRESH = "mpkernel_afresh"
_MOST_RELOADING = 1000
_RELOAD_WITHIN_S = 10.0
_RESTARTED_CODE = 1012
"""The code with which a WebSocket is closed because the server was restarted."""


class StoredPage(msgspec.Struct, frozen=True, tag="mpkernel-page-1"):
    """What is stored of a page's session.

    Attributes:
        token: marimo's, of the server from which the page was loaded.
        cells: a digest of the notebook's cells when they were run first; "" before.
        journal: what `MarimoJournal.kept` gave.
    """

    token: str
    cells: str
    journal: bytes


_decoder = msgspec.msgpack.Decoder(StoredPage)


class Arrival(NamedTuple):
    """A session that a page is about to open.

    Attributes:
        key: its name in the store.
        token: marimo's, as in `StoredPage`.
        app: absolute path of the notebook that the stored session is of; "" if none is stored.
        journal: what was stored of it; None for nothing.
        title, why: what to tell the page, when it is brought back.
        shared_key: the name in the store of what all sessions of its browser share; "" for none.
        since: when the page connected; `time.time()`.
    """

    key: str
    token: str
    app: str = ""
    journal: bytes | None = None
    title: str = RESTARTED
    why: str = ""
    shared_key: str = ""
    since: float = 0.0


class Arrivals:
    """The arrivals at one of marimo's session managers. On the loop's thread.

    Args:
        stored: the sessions that are stored.
        manager: the session manager.
        by_browser: whether a page begins with what its browser had last.
    """

    def __init__(self, stored: StoredSessions, manager: Any, *, by_browser: bool) -> None:
        self._stored = stored
        self._manager = manager
        self._by_browser = by_browser and stored.are_kept
        self._arrivals: dict[str, Arrival] = {}
        self._reloading: dict[str, str] = {}  # by key, with what to tell the page
        self._held: dict[str, tuple[str, Taken]] = {}  # by key, and what to tell the page
        self._cells = KnownCells()
        if stored.are_kept or is_started_by_a_supervisor():
            seam.keep_skew_token(manager, _lasting_token(manager))

    def get(self, session_id: str) -> Arrival | None:
        """What is known about a session that a page is about to open; None if nothing is known."""
        return self._arrivals.get(session_id)

    def forget(self, session_id: str) -> None:
        """The page has connected, or has gone."""
        self._arrivals.pop(session_id, None)

    async def expect(self, session_id: str, scope: Any) -> bool:
        """A page connects. Returns whether it must be loaded anew first. What it says to this class
        is taken out of the scope: the name of its former session, if it was loaded anew, and
        whether its reader wants to start afresh."""
        since = time.time()
        former = _taken_out(scope, _FORMER)
        is_afresh = _taken_out(scope, _AFRESH) is not None
        if self._manager.get_session(session_id) is not None:
            return False
        authority = authority_of(scope, str(self._manager.auth_token))
        if authority is None:
            return False
        key = key_of("", session_id, authority)
        stored_as = key_of("", former or session_id, authority)
        token = str(self._manager.skew_protection_token)
        why, taken = self._held.pop(stored_as, ("", None))
        if taken is None:
            taken = await self._stored.take(stored_as)
        shared_key = self._shared_key(scope, authority)
        page = None if taken is None else _page_in(taken)
        if taken is None or page is None:
            new = Arrival(key, token, shared_key=shared_key, since=since)
            self._arrivals[session_id] = new if is_afresh else await self._as_last_time(new)
            return False
        is_loaded_anew = stored_as in self._reloading
        why = self._reloading.pop(stored_as, why or _why_it_comes_back(taken))
        self._arrivals[session_id] = Arrival(
            key, token, taken.app, page.journal, why=why, shared_key=shared_key, since=since
        )
        has_reloaded = former is not None or is_loaded_anew
        if has_reloaded or not self._is_outdated(page, scope):
            return False
        _make_room(self._reloading)
        self._reloading[key] = why
        return True

    async def _as_last_time(self, new: Arrival) -> Arrival:
        """A new session, with what its browser had last. Its page has just been loaded."""
        taken = await self._stored.take_shared(new.shared_key) if new.shared_key else None
        page = None if taken is None else _page_in(taken)
        if taken is None or page is None:
            return new
        return new._replace(app=taken.app, journal=page.journal, title=LAST_VISIT)

    def _shared_key(self, scope: Any, authority: str) -> str:
        browser = browser_of(scope) if self._by_browser else None
        return "" if browser is None else key_of(f"browser {_file_of(scope)}", browser, authority)

    def hold(self, key: str, app: str, content: bytes, why: str) -> None:
        """A page is told to reload because its notebook was edited: give it this session then.

        Args:
            key: the session's, as in `Arrival`.
            app: absolute path of the notebook.
            content: a `StoredPage`.
            why: what to tell the page.
        """
        _make_room(self._held)
        self._held[key] = (why, Taken(app, content, True))

    def loaded(self, app: str, cells: str, since: float) -> None:
        """marimo has loaded a notebook for a page that had connected before.

        Args:
            app: absolute path of the notebook.
            cells: a digest of its cells, as in `StoredPage`.
            since: as in `Arrival`.
        """
        self._cells.loaded(app, cells, since)

    def is_edited(self, session_id: str, app: str, cells: str) -> bool:
        """Whether a session's notebook has other cells now.

        Args:
            session_id: which, one of the manager's.
            app: absolute path of the notebook.
            cells: a digest of its cells, as in `StoredPage`.
        """
        try:
            now = self._cells.now(
                app, lambda: digest_of(seam.cells_of_file(self._manager, session_id).values())
            )
        except Exception as error:  # noqa: BLE001 (the file is gone, or nothing that marimo reads)
            logger.debug("a notebook cannot be read: %s", error, app=app)
            return False
        return now != cells

    def _is_outdated(self, page: StoredPage, scope: Any) -> bool:
        """Whether a page that is loaded now would differ from this one in cells or token."""
        try:
            cells = digest_of(seam.cells_of(self._manager, _file_of(scope)).values())
        except Exception as error:  # noqa: BLE001 (marimo tells the page what is wrong with the notebook)
            logger.debug("a notebook cannot be read: %s", error)
            return False
        is_edited = page.cells not in ("", cells)
        return is_edited or page.token != str(self._manager.skew_protection_token)


def _make_room(found: dict[str, Any]) -> None:
    """Drop the oldest entry if there is no room for one more: clients decide how many come."""
    if len(found) >= _MOST_RELOADING:
        del found[next(iter(found))]


def _why_it_comes_back(taken: Taken) -> str:
    if taken.is_of_this_server:
        return "This tab was away for so long that its session had ended."
    return "The server was restarted."


async def tell_to_reload(session_id: str, scope: Any, receive: Any, send: Any) -> None:
    """Answer a page's WebSocket, or its request for server-sent events: the page loads itself anew,
    with the same session."""
    told = b'{"op": "reload", "data": %b}' % reload_message(session_id)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": told.decode()})
    else:
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        event = b"data: %b\n\n" % told
        await send({"type": "http.response.body", "body": event, "more_body": True})
    with suppress(TimeoutError):  # the page leaves by itself; otherwise it connects again
        async with asyncio.timeout(_RELOAD_WITHIN_S):
            while not (await receive())["type"].endswith(".disconnect"):
                continue
        return
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _RESTARTED_CODE, "reason": ""})
    else:
        await send({"type": "http.response.body"})


def reload_message(session_id: str) -> bytes:
    """marimo's message that has a page reload, with the session that it has to ask for then."""
    return msgspec.json.encode({"op": "reload", "session_id": session_id})


def former_session(scope: Any) -> str | None:
    """The session that a page had before it was told to reload; None for any other page."""
    return dict(_parameters(scope)).get(_FORMER)


def _file_of(scope: Any) -> str | None:
    """Which of a server's notebooks a page asks for; None for its only one."""
    given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("file")
    return given[0] if given else None


def _taken_out(scope: Any, parameter: str) -> str | None:
    """Take a query parameter of our own out of the scope: the notebook must not see it. Returns its
    value."""
    pairs = _parameters(scope)
    said = dict(pairs).get(parameter)
    if said is not None:
        others = [(name, value) for name, value in pairs if name != parameter]
        scope["query_string"] = urlencode(others).encode("ascii")
    return said


def _parameters(scope: Any) -> list[tuple[str, str]]:
    return parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)


def digest_of(codes: Iterable[str]) -> str:
    """A digest of the code of cells."""
    digest = hashlib.sha256()
    for code in codes:
        digest.update(b"%d:" % len(code) + code.encode(errors="surrogatepass"))
    return digest.hexdigest()


def _lasting_token(manager: Any) -> str:
    """marimo's token by which it knows outdated pages: here it is the same in each process, as long
    as the one notebook that is served is, and the versions that made the page."""
    parts = ["mpkernel", __version__, check_marimo(), *seam.cells_of(manager, None).values()]
    return digest_of(parts)[:32]


def _page_in(taken: Taken) -> StoredPage | None:
    try:
        return _decoder.decode(taken.content)
    except UNDECODABLE as error:
        logger.info("a stored session is of another version: %s", error, app=taken.app)
        return None
