"""`Worker`: this process as one of several of its server. Which sessions are its own, and how long
each claim lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from mpkernel.aio.tasks import supervised_task
from mpkernel.aio.threads import off_the_loop
from mpkernel.logs import get_logger
from mpkernel.server.workers.claims import Claims
from mpkernel.server.workers.forwarding import Peer, PeerGone, PeerSilent
from mpkernel.server.workers.serving import AsgiApp, Scope, WorkerSocket

__all__ = ["Worker"]

logger = get_logger(__name__)

_OVERHEAD_BYTES = 1024 * 1024
_STEP_S = 0.05
_FORGET_AFTER_S = 60.0
_MOST_ENDED = 10_000
_LOOK_S = 0.5
"""How often a worker looks whether the others can still find it."""


class Worker:
    """On the loop's thread.

    Args:
        server: the server's name; see `server_name`.
        apps, scope_of, has_file: see `WorkerSocket`.
        is_live: whether this worker has a session that has not ended.
        most_bytes: how long one message to or from a browser may be.
        keep_s: how long a session that has ended may come back.
        leave_s: how long a worker may take to end before its sessions are taken from it.

    Raises:
        OSError: this worker cannot be found by the others.
    """

    def __init__(
        self,
        server: str,
        apps: Mapping[str, AsgiApp],
        scope_of: Callable[[bytes], Scope],
        has_file: Callable[[str], bool],
        is_live: Callable[[str], bool],
        *,
        most_bytes: int,
        keep_s: float,
        leave_s: float,
    ) -> None:
        self._claims = Claims(server)
        self._is_live = is_live
        self._most_bytes = most_bytes + _OVERHEAD_BYTES
        self._keep_s = keep_s
        self._leave_s = leave_s
        self._socket = WorkerSocket(
            self._claims.key, apps, scope_of, has_file, most_bytes=self._most_bytes
        )
        self._peers: dict[str, Peer] = {}
        self._pages: dict[str, int] = {}  # how many pages of a session are connected
        self._groups: dict[str, str] = {}  # the group of a session that has pages, if it has one
        self._ended: dict[str, asyncio.TimerHandle] = {}  # claims to look at later, by session
        self._is_leaving = False
        self._is_over = False
        self._next_look: asyncio.TimerHandle | None = None
        self._restoring = asyncio.Lock()

    @property
    def name(self) -> str:
        """The name by which other workers know it."""
        return self._claims.name

    async def start(self) -> None:
        """Serve other workers from now on."""
        await self._socket.listen(self._claims.socket)
        self._look_soon()

    async def page_opens(self, session: str, group: str = "") -> Peer | None:
        """A page connects with a session: who has it? None: this worker, from now on, until
        `page_left` was called as often. A worker that is about to end is waited for, so that the
        session comes back as it was. If code of others keeps it from ending, the session is taken
        from it: then it begins anew here.

        Args:
            session: which.
            group: the name of sessions that one worker should have, because they share something: a
                session that nobody has goes to the worker that has others of its group, if that
                worker answers. "": it has no group.

        Raises:
            PeerSilent: the worker that has it is stopped, or its event loop stands still.
        """
        if session in self._pages:
            self._pages[session] += 1
            return None
        is_grouped = group != "" and self._may_join(session, group)
        if is_grouped:
            try:
                peer = await self._taken(group)
            except PeerSilent as error:
                logger.warning("a page does not get what its group has: %s", error, session=session)
                is_grouped, peer = False, None
            if peer is not None:
                return peer
        peer = None
        try:
            peer = await self._taken(session)
        finally:
            if is_grouped and session in self._pages and session not in self._groups:
                self._groups[session] = group
            elif is_grouped:  # another worker has the session, or a page of it holds the group
                self._left(group, is_group=True)
        return peer

    def page_left(self, session: str) -> None:
        """A page has gone for which `page_opens` had returned None. Its session may come back."""
        self._left(session)
        if session not in self._pages and (group := self._groups.pop(session, "")):
            self._left(group, is_group=True)

    def owner_of(self, session: str) -> Peer | None:
        """The other worker that has a session; None if this one has, or nobody."""
        if session in self._pages or session in self._ended:
            return None
        owner = self._claims.owner(session)
        return None if owner in (None, self.name) else self._peer(str(owner))

    def living_owner_of(self, session: str) -> Peer | None:
        """`owner_of`; None if it is dead, too: then the session is nowhere."""
        peer = self.owner_of(session)
        return None if peer is None or self._claims.is_dead(peer.name) else peer

    async def who_has_file(self, name: str) -> Peer | None:
        """The other worker that has a virtual file; None for nobody."""
        peers = [self._peer(other) for other in self._claims.others()]
        asked = {asyncio.create_task(peer.has_file(name)): peer for peer in peers}
        pending = set(asked)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for answer in done:
                    if answer.result():
                        return asked[answer]
            return None
        finally:
            for task in pending:
                task.cancel()

    def leave(self) -> None:
        """The server is about to end: serve no more requests of other workers. They wait for the
        end of this worker before they take a session of it. Idempotent."""
        self._is_leaving = True
        if self._next_look is not None:
            self._next_look.cancel()
        self._claims.stop_listening()
        self._socket.leave()

    async def close(self) -> None:
        """All sessions have ended: give up the claims. Idempotent."""
        if self._is_over:
            return
        self._is_over = True
        self.leave()
        await self._socket.close()
        for peer in self._peers.values():
            peer.close()
        for timer in self._ended.values():
            timer.cancel()
        await off_the_loop(self._claims.leave)

    def _may_join(self, session: str, group: str) -> bool:
        """Whether a session may be where its group is: no other worker has it already."""
        owner = self._claims.owner(session)
        if owner == self.name:
            return self._claims.owner(group) in (None, self.name)
        return owner is None or self._claims.is_dead(owner)

    async def _taken(self, session: str) -> Peer | None:
        """Who has a session, or a group; None: this worker, for one page more."""
        try:
            if not self._claims.can_be_found:
                await self._restore()
                await asyncio.sleep(2 * _LOOK_S)  # the other workers claim their sessions again
            peer = await self._claimed(session)
        except OSError as error:
            peer = None
            if not self._is_leaving:
                logger.warning("the server's other processes cannot find a session: %s", error)
        if peer is None:
            self._pages[session] = self._pages.get(session, 0) + 1
            if (timer := self._ended.pop(session, None)) is not None:
                timer.cancel()
        return peer

    def _look_soon(self) -> None:
        if not self._is_leaving:
            self._next_look = asyncio.get_running_loop().call_later(_LOOK_S, self._look_after_files)

    def _look_after_files(self) -> None:
        if self._claims.can_be_found:
            self._look_soon()
        else:
            supervised_task(self._look_after_removal(), name="mpkernel.worker-restores")

    async def _look_after_removal(self) -> None:
        try:
            await self._restore()
        except OSError as error:
            logger.debug("this worker cannot be found by the others: %s", error)
        finally:
            self._look_soon()

    async def _restore(self) -> None:
        """What the workers need to find each other was removed: make it anew.

        Raises:
            OSError: that is not possible for now.
        """
        async with self._restoring:
            if self._claims.can_be_found:
                return
            sessions = [*self._pages, *self._ended]
            await off_the_loop(partial(self._claims.restore, sessions))
            if self._is_leaving:
                self._claims.socket.close()
                self._claims.stop_listening()
                return
            await self._socket.listen(self._claims.socket)
        logger.warning("the directory of this server's workers was removed: it is made anew")

    def _left(self, session: str, *, is_group: bool = False) -> None:
        self._pages[session] -= 1
        if not self._pages[session]:
            del self._pages[session]
            # What a group shares can come back as long as a session that was live.
            self._look_later(session, was_live=is_group)

    async def _claimed(self, session: str) -> Peer | None:
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + self._leave_s
        while True:
            owner = self._claims.claim(session)
            if owner == self.name:
                return None
            peer = self._peer(owner)
            try:
                await peer.reach()
            except (PeerGone, PeerSilent) as error:
                if self._claims.is_dead(owner):
                    if self._peers.pop(owner, None) is peer:  # not for another page already
                        peer.close()
                    await off_the_loop(partial(self._claims.bury, owner))
                elif isinstance(error, PeerSilent):
                    raise
                elif loop.time() < patient_until:
                    await asyncio.sleep(_STEP_S)
                else:
                    await off_the_loop(partial(self._claims.take_over, session, owner))
            else:
                return peer

    def _peer(self, name: str) -> Peer:
        if name not in self._peers:
            for other in [other for other in self._peers if self._claims.is_dead(other)]:
                self._peers.pop(other).close()
            self._peers[name] = Peer(
                name,
                lambda: self._claims.address_of(name),
                most_bytes=self._most_bytes,
                is_dead=lambda: self._claims.is_dead(name),
            )
        return self._peers[name]

    def _look_later(self, session: str, *, was_live: bool = False) -> None:
        """Give the claim up when the session can no longer come back."""
        is_live = self._is_live(session)
        loop = asyncio.get_running_loop()
        delay_s = self._keep_s if is_live or was_live else _FORGET_AFTER_S
        self._ended[session] = loop.call_later(delay_s, self._look, session, is_live)
        oldest = next(iter(self._ended))
        if len(self._ended) > _MOST_ENDED and not self._is_live(oldest):
            self._release(oldest)

    def _look(self, session: str, was_live: bool) -> None:
        if was_live:  # the session may have ended only a moment ago
            self._look_later(session, was_live=True)
        else:
            self._release(session)

    def _release(self, session: str) -> None:
        self._ended.pop(session).cancel()
        self._claims.release(session)
