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

__all__ = ["Arrival", "Arrivals", "StoredPage", "digest_of", "tell_to_reload"]

logger = get_logger(__name__)

_FORMER = "mpkernel_former"
_MOST_RELOADING = 10_000
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
        is_of_this_server: whether this server has stored it.
    """

    key: str
    token: str
    app: str = ""
    journal: bytes | None = None
    is_of_this_server: bool = False


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
        self._reloading: dict[str, bool] = {}  # by key, whether this server had stored the session
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
        if not self._stored.are_kept or self._manager.get_session(session_id) is not None:
            return False
        authority = authority_of(scope, str(self._manager.auth_token))
        if authority is None:
            return False
        key = key_of("", session_id, authority)
        stored_as = key_of("", former or session_id, authority)
        token = str(self._manager.skew_protection_token)
        taken = await self._stored.take(stored_as)
        page = None if taken is None else _page_in(taken)
        if taken is None or page is None:
            self._arrivals[session_id] = Arrival(key, token)
            return False
        is_loaded_anew = stored_as in self._reloading
        was_here = self._reloading.pop(stored_as, taken.is_of_this_server)
        self._arrivals[session_id] = Arrival(key, token, taken.app, page.journal, was_here)
        can_reload = scope["type"] == "websocket" and not (former or is_loaded_anew)
        if not (can_reload and self._is_outdated(page, scope)):
            return False
        if len(self._reloading) >= _MOST_RELOADING:
            del self._reloading[next(iter(self._reloading))]
        self._reloading[key] = was_here
        return True

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


async def tell_to_reload(session_id: str, receive: Any, send: Any) -> None:
    """Answer a page's WebSocket: the page loads itself anew, with the same session."""
    await receive()
    await send({"type": "websocket.accept"})
    told = {"op": "reload", "data": {"op": "reload", "session_id": session_id}}
    await send({"type": "websocket.send", "text": msgspec.json.encode(told).decode()})
    with suppress(TimeoutError):  # the page leaves by itself; otherwise it connects again
        async with asyncio.timeout(_RELOAD_WITHIN_S):
            while (await receive())["type"] != "websocket.disconnect":
                continue
        return
    await send({"type": "websocket.close", "code": _RESTARTED, "reason": ""})


def _taken_out(scope: Any) -> str | None:
    """The session that a page had which was told to reload. It is no parameter of the notebook."""
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
