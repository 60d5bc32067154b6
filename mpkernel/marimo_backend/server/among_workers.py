"""`AmongWorkers`: middleware that has each request served by the server process that has its
session.

marimo's page names its session in each request but those for virtual files:

    connecting (WebSocket, server-sent events)   ?session_id=…
    all other requests for a session             the header Marimo-Session-Id
    virtual files                                not at all; their names say nothing either, so that
                                                 the other workers are asked
    the page itself, its assets                  not at all; any worker serves them

If the setting session_store_scope is "browser", a new session goes to the worker that has the other
sessions of the same browser: that one knows their values.

What stands before this middleware (authentication, for example) runs in the process that accepted
the request, what stands behind it in the process that has the session.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.responses import PlainTextResponse

from mpkernel.aio.broken_answers import BrokenAnswer
from mpkernel.logs import get_logger
from mpkernel.marimo_backend.server.arrivals import former_session
from mpkernel.marimo_backend.server.browsers import group_of
from mpkernel.marimo_backend.server.handed_scope import scope_as_bytes, scope_of_bytes
from mpkernel.marimo_backend.server.reconnecting import named_session_of, session_of
from mpkernel.marimo_backend.server.registered_files import file_name_in
from mpkernel.marimo_backend.server.shared_pool import SharedPool, shared_pool
from mpkernel.server.workers.forwarding import Peer, PeerGone, PeerLost, PeerSilent
from mpkernel.server.workers.same_server import server_name
from mpkernel.server.workers.worker import Worker

__all__ = ["AmongWorkers"]

logger = get_logger(__name__)

_MOST_ATTEMPTS = 5
_ENDS_WITHIN_S = 10.0
"""How long a page waits for the end of the process that had its session."""
_UNKEPT_S = 60.0
_RESTARTED = 1012
_TRY_AGAIN_LATER = 1013
_NO_ANSWER = "The server's process that has this session does not answer. Try again."
_ENDED = "The server's process that had this session has ended."


class AmongWorkers:
    """Serves requests itself where this process is not one of several.

    Args:
        app: what comes next.
        itself: the Starlette application that this belongs to.
    """

    def __init__(self, app: Any, itself: Any) -> None:
        self._app = app
        self._itself = itself
        self._state: Any = None  # the state of the lifespan, as this server puts it into scopes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        worker = None if scope["type"] == "lifespan" else await self._worker(scope)
        if worker is None:
            await self._app(scope, receive, send)
        elif (session := session_of(scope)) is not None:
            await self._serve_page(worker, session, scope, receive, send)
        elif (peer := await _other_than(worker, scope)) is not None:
            await self._hand_over(peer, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _worker(self, scope: Any) -> Worker | None:
        shared = shared_pool()
        self._state = scope.get("state", self._state)
        shared.handed_apps[scope.get("root_path", "")] = self._serve_for_another
        return await _worker_of(shared, scope)

    async def _serve_page(
        self, worker: Worker, session: str, scope: Any, receive: Any, send: Any
    ) -> None:
        """Serve the connection of a page. If the process that has its session dies before it has
        answered, another one serves the page."""
        browser = _Page(scope, await receive(), receive, send)
        former = former_session(scope)
        peer = worker.owner_of(former) if former is not None else None
        for _ in range(_MOST_ATTEMPTS):
            try:
                if peer is None:
                    peer = await worker.page_opens(session, _group_of(scope))
                if peer is None:
                    await self._serve_own_page(worker, session, scope, browser)
                    return
                root_path = scope.get("root_path", "")
                scope_bytes = scope_as_bytes(scope)
                await peer.serve(root_path, scope_bytes, browser.receive_anew(), browser.send)
            except PeerSilent as error:
                logger.warning("a page is turned away: %s", error, session=session)
                await browser.turn_away(_TRY_AGAIN_LATER, _NO_ANSWER)
            except PeerGone as error:
                logger.debug("a page finds its session elsewhere: %s", error, session=session)
                peer = None
                continue
            except PeerLost as error:
                logger.info("a page lost its session's process: %s", error, session=session)
                peer = None
                if not browser.has_begun:
                    continue
                await browser.turn_away(_RESTARTED, _ENDED)
            return
        await browser.turn_away(_TRY_AGAIN_LATER, _NO_ANSWER)

    async def _serve_own_page(
        self, worker: Worker, session: str, scope: Any, browser: _Page
    ) -> None:
        try:
            await self._app(scope, browser.receive_anew(), browser.send)
        finally:
            worker.page_left(session)

    async def _hand_over(self, peer: Peer, scope: Any, receive: Any, send: Any) -> None:
        has_begun = False

        async def told(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            root_path = scope.get("root_path", "")
            await peer.serve(root_path, scope_as_bytes(scope), receive, told)
            return
        except PeerSilent as error:
            logger.warning("a request is not answered: %s", error)
            refusal = PlainTextResponse(_NO_ANSWER, 503, headers={"Retry-After": "1"})
        except PeerGone as error:
            logger.debug("a request is not answered: %s", error)
            refusal = PlainTextResponse(_ENDED, 503, headers={"Retry-After": "1"})
        except PeerLost as error:
            if has_begun:
                logger.warning("an answer is broken off: %s", error)
                raise BrokenAnswer(str(error)) from error
            logger.info("a request is not answered: %s", error)
            refusal = PlainTextResponse(_ENDED, 502)
        await refusal(scope, receive, send)

    async def _serve_for_another(self, handed: Any, receive: Any, send: Any) -> None:
        """Serve a request that another worker has accepted."""
        scope = {**handed, "app": self._itself}
        if self._state is not None:
            scope["state"] = dict(self._state)
        session = session_of(scope)
        worker = shared_pool().worker
        if session is None or worker is None:
            await self._app(scope, receive, send)
            return
        if await worker.page_opens(session, _group_of(scope)) is not None:
            raise PeerGone(f"the session {session} has moved on to another process")
        try:
            await self._app(scope, receive, send)
        finally:
            worker.page_left(session)


class _Page:
    """The connection of a page, of which parts may be answered by several workers, until one of
    them has begun with its answer.

    Args:
        scope, receive, send: the server's.
        first: what `receive` gave first.

    Attributes:
        has_begun: whether anything was sent to the page.
    """

    def __init__(self, scope: Any, first: Any, receive: Any, send: Any) -> None:
        self._is_websocket = scope["type"] == "websocket"
        self._scope = scope
        self._first = first
        self._receive = receive
        self._send = send
        self._is_over = False
        self.has_begun = False

    def receive_anew(self) -> Callable[[], Any]:
        """ASGI's `receive`, from the beginning."""
        given = False

        async def receive() -> Any:
            nonlocal given
            if given:
                return await self._receive()
            given = True
            return self._first

        return receive

    async def send(self, message: Any) -> None:
        """ASGI's `send`."""
        self.has_begun = True
        is_end = message["type"] == "http.response.body" and not message.get("more_body", False)
        self._is_over |= is_end or message["type"] == "websocket.close"
        await self._send(message)

    async def turn_away(self, code: int, why: str) -> None:
        """End the connection, so that the page connects again."""
        if self._is_over:
            return
        with suppress(OSError):  # the page has gone
            if self._is_websocket:
                if not self.has_begun:
                    await self._send({"type": "websocket.accept"})
                await self._send({"type": "websocket.close", "code": code, "reason": ""})
            elif self.has_begun:
                await self._send({"type": "http.response.body"})
            else:
                refusal = PlainTextResponse(why, 503, headers={"Retry-After": "1"})
                await refusal(self._scope, self._receive, self._send)


def _group_of(scope: Any) -> str:
    """The name of the group of sessions that should be on one worker with the page's session; ""
    for none."""
    settings = shared_pool().hosts.settings
    by_browser = settings.session_store and settings.session_store_scope == "browser"
    return group_of(scope) if by_browser else ""


async def _worker_of(shared: SharedPool, scope: Any) -> Worker | None:
    """This process as a worker; None if it is not one of several."""
    if shared.worker is None and not shared.is_alone:
        async with shared.finding_workers:
            if shared.worker is None and not shared.is_alone:
                shared.worker = await _started_worker(shared, scope)
                shared.is_alone = shared.worker is None
    return shared.worker


async def _started_worker(shared: SharedPool, scope: Any) -> Worker | None:
    host, port = scope.get("server") or (None, None)
    address = host if port is None else port
    server = None if address is None else server_name(address)
    if server is None:
        return None
    settings = shared.hosts.settings
    try:
        worker = Worker(
            server,
            shared.handed_apps,
            scope_of_bytes,
            lambda name: name in shared.hosts.files,
            shared.has_session,
            most_bytes=settings.max_frame_bytes,
            keep_s=settings.session_store_ttl_s if settings.session_store else _UNKEPT_S,
            leave_s=_ENDS_WITHIN_S,
        )
        await worker.start()
    except OSError as error:
        logger.warning(
            "this server has several processes, and this one cannot be found by the others, so"
            " pages whose requests reach several of them do not work: %s",
            error,
        )
        return None
    shared.leaving.tell(worker)
    shared.hosts.one_of = server
    logger.info("requests for sessions of this server's other processes are handed over to them")
    return worker


async def _other_than(worker: Worker, scope: Any) -> Peer | None:
    """The other worker that must serve a request; None for this one."""
    if scope["type"] != "http":
        return None
    file = file_name_in(scope)
    if file is not None:
        is_here = file in shared_pool().hosts.files
        return None if is_here else await worker.who_has_file(file)
    session = named_session_of(scope)
    return None if session is None else worker.living_owner_of(session)
