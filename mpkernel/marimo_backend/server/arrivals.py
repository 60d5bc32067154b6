"""`Arrivals`: pages that connect with a session which the server does not have.

    page connects ─▶ is there such a session in marimo's server? ─ yes ─▶ marimo's affair
                         │ no
                         ▼
                     in the store? ─ no ──▶ a new session, which is stored from now on
                         │ yes
                         ▼
                     has the notebook been edited since this page was loaded?
                         │ no ─▶ the session begins with the values that were stored
                         │ yes
                         ▼
                     the page is told to reload, and says which session it had when it connects
                     again: the new one begins with the values whose elements are still the same

marimo's page keeps the cells that it was loaded with when it connects again, so one of an edited
notebook has to be loaded anew. marimo also refuses what an outdated page sends, by a token that is
another one in each process; here it is made to stay the same while the notebook does.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qs, parse_qsl, urlencode

import msgspec

from mpkernel.logs import get_logger
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.server.authority import authority_of
from mpkernel.server.apps.stored_sessions import StoredSessions
from mpkernel.server.store.session_store import Taken, key_of
from mpkernel.version import __version__
from mpkernel.wire.messages import UNDECODABLE

__all__ = ["Arrival", "Arrivals", "StoredPage", "digest_of", "reload_message", "tell_to_reload"]

logger = get_logger(__name__)

_FORMER = "mpkernel_former"
_MOST_RELOADING = 1000
_RELOAD_WITHIN_S = 10.0
_RESTARTED = 1012
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


class Arrival(NamedTuple):
    """A session that a page is about to open.

    Attributes:
        key: its name in the store.
        token: marimo's, as in `StoredPage`.
        app: absolute path of the notebook that the stored session is of; "" if none is stored.
        journal: what was stored of it; None for nothing.
        why: what to tell the page, when it is brought back.
    """

    key: str
    token: str
    app: str = ""
    journal: bytes | None = None
    why: str = ""


class Arrivals:
    """Those of one of marimo's session managers. On the loop's thread.

    Args:
        stored: the sessions that are stored.
        manager: the session manager.
    """

    def __init__(self, stored: StoredSessions, manager: Any) -> None:
        self._stored = stored
        self._manager = manager
        self._arrivals: dict[str, Arrival] = {}
        self._reloading: dict[str, str] = {}  # by key, what to tell the page when it is back
        self._held: dict[str, tuple[str, Taken]] = {}  # by key, and what to tell the page
        self._cells: dict[str, tuple[object, str]] = {}  # by path, a digest of this state of it
        if stored.are_kept:
            seam.keep_skew_token(manager, _lasting_token(manager))

    def get(self, session_id: str) -> Arrival | None:
        """What is known of a session that a page is about to open; None for nothing."""
        return self._arrivals.get(session_id)

    def forget(self, session_id: str) -> None:
        """The page has connected, or has gone."""
        self._arrivals.pop(session_id, None)

    async def expect(self, session_id: str, scope: Any) -> bool:
        """A page connects. Returns whether it must be loaded anew first. If it was, the name of its
        former session is taken out of the scope."""
        former = _taken_out(scope)
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
        page = None if taken is None else _page_in(taken)
        if taken is None or page is None:
            self._arrivals[session_id] = Arrival(key, token)
            return False
        is_loaded_anew = stored_as in self._reloading
        why = self._reloading.pop(stored_as, why or _why_it_comes_back(taken))
        self._arrivals[session_id] = Arrival(key, token, taken.app, page.journal, why)
        can_reload = scope["type"] == "websocket" and not (former or is_loaded_anew)
        if not (can_reload and self._is_outdated(page, scope)):
            return False
        _make_room(self._reloading)
        self._reloading[key] = why
        return True

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

    def is_edited(self, session_id: str, app: str, cells: str) -> bool:
        """Whether a session's notebook has other cells now.

        Args:
            session_id: which, one of the manager's.
            app: absolute path of the notebook.
            cells: a digest of its cells, as in `StoredPage`.
        """
        try:
            found = os.stat(app)
            state = (found.st_ino, found.st_size, found.st_mtime_ns)
            known, now = self._cells.get(app, (None, ""))
            if known != state:
                now = digest_of(seam.cells_of_file(self._manager, session_id).values())
                _make_room(self._cells)
                self._cells[app] = (state, now)
        except Exception as error:  # noqa: BLE001 (the file is gone, or nothing that marimo reads)
            logger.debug("a notebook cannot be read: %s", error, app=app)
            return False
        return now != cells

    def _is_outdated(self, page: StoredPage, scope: Any) -> bool:
        """Whether what the page was loaded with is not what it would be loaded with now."""
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("file", [None])[0]
        try:
            cells = digest_of(seam.cells_of(self._manager, given).values())
        except Exception as error:  # noqa: BLE001 (marimo tells the page what is wrong with the notebook)
            logger.debug("a notebook cannot be read: %s", error)
            return False
        is_edited = page.cells not in ("", cells)
        return is_edited or page.token != str(self._manager.skew_protection_token)


def _make_room(found: dict[str, Any]) -> None:
    """For one more, which other pages cause."""
    if len(found) >= _MOST_RELOADING:
        del found[next(iter(found))]


def _why_it_comes_back(taken: Taken) -> str:
    if taken.is_of_this_server:
        return "This tab was away for so long that its session had ended."
    return "The server was restarted."


async def tell_to_reload(session_id: str, receive: Any, send: Any) -> None:
    """Answer a page's WebSocket: the page loads itself anew, with the same session."""
    await receive()
    await send({"type": "websocket.accept"})
    told = b'{"op": "reload", "data": %b}' % reload_message(session_id)
    await send({"type": "websocket.send", "text": told.decode()})
    with suppress(TimeoutError):  # the page leaves by itself; otherwise it connects again
        async with asyncio.timeout(_RELOAD_WITHIN_S):
            while (await receive())["type"] != "websocket.disconnect":
                continue
        return
    await send({"type": "websocket.close", "code": _RESTARTED, "reason": ""})


def reload_message(session_id: str) -> bytes:
    """marimo's message that has a page reload, with the session that it has to ask for then."""
    return msgspec.json.encode({"op": "reload", "session_id": session_id})


def _taken_out(scope: Any) -> str | None:
    """The session of a page that was told to reload. It is not a parameter of the notebook."""
    pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    former = dict(pairs).get(_FORMER)
    if former is not None:
        others = [(name, value) for name, value in pairs if name != _FORMER]
        scope["query_string"] = urlencode(others).encode("ascii")
    return former


def digest_of(codes: Iterable[str]) -> str:
    """A digest of the code of cells."""
    digest = hashlib.sha256()
    for code in codes:
        digest.update(b"%d:" % len(code) + code.encode(errors="surrogatepass"))
    return digest.hexdigest()


def _lasting_token(manager: Any) -> str:
    """marimo's token by which it knows outdated pages: here it is the same in each process, as long
    as the one notebook that is served is, and the versions that made the page."""
    parts = ["mpkernel", __version__, seam.check_marimo(), *seam.cells_of(manager, None).values()]
    return digest_of(parts)[:32]


def _page_in(taken: Taken) -> StoredPage | None:
    try:
        return msgspec.msgpack.decode(taken.content, type=StoredPage)
    except UNDECODABLE as error:
        logger.info("a stored session is of another version: %s", error, app=taken.app)
        return None
