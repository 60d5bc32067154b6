"""`Claims`: the private directory in which the workers of one server find each other, and each
session.

    <runtime directory>/workers-<server>/     0700
        <worker>.sock, <worker>.key           0600, one pair for each worker
        claims/<digest of a session>          a symbolic link; its target is the worker's name
        claims/<worker>                       the same: where it is gone, so are the worker's claims

A link is made in one step, which fails if there is one already: of two workers that claim a session
at once, one gets it, and the other one reads who has. Only the worker that a link names removes it,
as long as it lives and does not take too long to end. The links of a worker that is dead are
removed by whoever finds it dead, under a lock on the directory. A worker's name says which process
it is, so that another process with the same id is not taken for it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mpkernel.aio.forks import release, unlocked, withhold_from_forks
from mpkernel.file_locks import wait_for_lock
from mpkernel.logs import get_logger
from mpkernel.private_files import make_private, private_runtime_directory, write_private
from shm.names import next_name, owner_of

__all__ = ["KEY_BYTES", "Claims"]

logger = get_logger(__name__)

KEY_BYTES = 32
_PREFIX = "workers-"
_LEFT_EMPTY_S = 60.0
_BACKLOG = 128
_PATIENCE_S = 10.0


class Claims:
    """A worker's own access to the directory. What is done with one link (`claim`, `owner`,
    `release`) takes microseconds, and may be done on the loop's thread; the rest may wait up to
    10 s for another worker, and then raises `TimeoutError`.

    Args:
        server: the name of the server; see `server_name`.

    Attributes:
        name: this worker's.
        key: what another worker must know to connect to this one.
        socket: where this worker listens. It is closed by whoever uses it.

    Raises:
        OSError: there is no directory for this, or its path is too long for a socket.
    """

    def __init__(self, server: str) -> None:
        runtime = private_runtime_directory()
        _remove_abandoned(runtime)
        self._directory = runtime / f"{_PREFIX}{server}"
        self._links = self._directory / "claims"
        self.name = next_name()
        self.key = secrets.token_bytes(KEY_BYTES)
        self._listens = True
        self._withheld_fd = -1  # the socket's, while it is withheld from forks
        with _made_and_locked(self._directory):
            make_private(self._links)
            for name in self._names():
                if not _may_live(name):
                    self._bury(name)
            self._publish()

    @property
    def can_be_found(self) -> bool:
        """Whether the others find this worker, or need not any more. Not if somebody has removed
        the directory, or what is in it: then `restore` helps."""
        files = (self._path(self.name, ".sock"), self._links / self.name)
        return not self._listens or all(map(os.path.lexists, files))

    def restore(self, sessions: Iterable[str]) -> None:
        """Make the directory and the files of this worker anew, with a new `socket`, and claim
        these sessions again, as far as no other worker has them. May wait for other workers.

        Raises:
            OSError: they cannot be made.
        """
        make_private(self._directory.parent)
        with _made_and_locked(self._directory):
            make_private(self._links)
            for path in (self._path(self.name, ".sock"), self._links / self.name):
                path.unlink(missing_ok=True)
            self._give_to_forks()
            self._publish()
            for session in sessions:
                with suppress(FileExistsError):
                    os.symlink(self.name, self._link(session))

    def claim(self, session: str) -> str:
        """Claim a session for this worker. Returns the name of the worker that has it then: this
        one, or the one that had claimed it before, which may be dead.

        Raises:
            OSError: no link can be made, or the other workers cannot find this one.
        """
        self._stay_reachable()
        link = self._link(session)
        while True:
            try:
                os.symlink(self.name, link)
            except FileExistsError:
                owner = self.owner(session)
                if owner is not None:
                    return owner
                if os.path.lexists(link) and not os.path.islink(link):
                    raise
            else:
                return self.name

    def take_over(self, session: str, owner: str) -> str:
        """Claim a session for this worker, also if that other worker has it. Returns the name of
        the worker that has it then. May wait for other workers.

        Raises:
            OSError: no link can be made.
        """
        with _locked(self._directory):
            if self.owner(session) == owner:
                os.unlink(self._link(session))
            return self.claim(session)

    def owner(self, session: str) -> str | None:
        """The name of the worker that has claimed a session; None for nobody."""
        try:
            return os.readlink(self._link(session))
        except OSError:
            return None

    def release(self, session: str) -> None:
        """Give back a session, if this worker has it."""
        if self.owner(session) == self.name:
            with suppress(FileNotFoundError):
                os.unlink(self._link(session))

    def others(self) -> list[str]:
        """The names of the other workers, without those that are known to be dead."""
        return [name for name in self._names() if name != self.name and _may_live(name)]

    def address_of(self, name: str) -> tuple[str, bytes]:
        """The path of a worker's socket, and the worker's key.

        Raises:
            OSError: it does not listen any more.
        """
        return str(self._path(name, ".sock")), self._path(name, ".key").read_bytes()

    def is_dead(self, name: str) -> bool:
        """Whether a worker is known to be dead."""
        return not _may_live(name)

    def bury(self, name: str) -> None:
        """Remove all that a dead worker has left. May wait for other workers.

        Raises:
            OSError: the directory cannot be read.
        """
        with _locked(self._directory):
            self._bury(name)

    def stop_listening(self) -> None:
        """No other worker can connect to this one from now on; it keeps its claims. Idempotent."""
        self._listens = False
        self._give_to_forks()
        for suffix in (".sock", ".key"):
            self._path(self.name, suffix).unlink(missing_ok=True)

    def leave(self) -> None:
        """This worker neither listens nor has sessions from now on. May wait for other workers.
        Idempotent."""
        try:
            with _locked(self._directory):
                self._bury(self.name)
                if not self._names():
                    shutil.rmtree(self._directory)
        except FileNotFoundError:  # somebody has removed the directory
            logger.debug("the directory of this server's workers is gone")
        except OSError as error:
            logger.warning("what this worker leaves is removed by the next one: %s", error)

    def _stay_reachable(self) -> None:
        """Keep the file of the key young: what cleans up temporary files removes old ones, and the
        session that is about to be claimed must be found here."""
        if not self._listens:
            return
        if not self.can_be_found:
            raise FileNotFoundError(errno.ENOENT, "it was removed", str(self._directory))
        key = self._path(self.name, ".key")
        try:
            os.utime(key)
        except FileNotFoundError:
            write_private(key, self.key)

    def _publish(self) -> None:
        path = self._path(self.name, ".sock")
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            write_private(self._path(self.name, ".key"), self.key)
            self.socket.bind(str(path))
            os.chmod(path, 0o600)
            self.socket.listen(_BACKLOG)
            self.socket.setblocking(False)
            os.symlink(self.name, self._links / self.name)
            # A fork that outlives this worker would listen in its place, and never answer.
            self._withheld_fd = self.socket.fileno()
            withhold_from_forks(self._withheld_fd)
        except BaseException:
            self.socket.close()
            self._bury(self.name)
            raise

    def _give_to_forks(self) -> None:
        """The socket is about to be closed."""
        fd, self._withheld_fd = self._withheld_fd, -1
        if fd >= 0:
            release(fd)

    def _names(self) -> list[str]:
        return [path.stem for path in self._directory.glob("mpk-*.sock")]

    def _bury(self, name: str) -> None:
        """Remove the claims, the socket and the key of a worker. The caller holds the lock."""
        with os.scandir(self._links) as links:
            for entry in links:
                with suppress(FileNotFoundError):  # a living worker has released it meanwhile
                    if os.readlink(entry.path) == name:
                        os.unlink(entry.path)
        for suffix in (".sock", ".key"):
            self._path(name, suffix).unlink(missing_ok=True)

    def _path(self, name: str, suffix: str) -> Path:
        return self._directory / f"{os.path.basename(name)}{suffix}"

    def _link(self, session: str) -> Path:
        encoded = session.encode(errors="surrogateescape")
        return self._links / hashlib.sha256(encoded).hexdigest()[:40]


def _may_live(name: str) -> bool:
    tag = owner_of(name)
    return tag is not None and tag.may_live


@contextmanager
def _made_and_locked(directory: Path) -> Iterator[None]:
    while True:
        make_private(directory)
        with _locked(directory) as fd:
            try:
                is_the_same = os.path.samestat(os.fstat(fd), os.stat(directory))
            except FileNotFoundError:
                is_the_same = False
            if is_the_same:  # else its last worker has removed it meanwhile
                yield
                return


@contextmanager
def _locked(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        wait_for_lock(fd, directory, _PATIENCE_S)
        yield fd
    finally:
        unlocked(fd)


def _remove_abandoned(runtime: Path) -> None:
    """Remove the directories of servers that have no worker any more."""
    for directory in runtime.glob(f"{_PREFIX}*"):
        try:
            with _locked(directory) as fd:
                names = [path.stem for path in directory.glob("mpk-*")]  # a key may be gone
                is_young = time.time() - os.fstat(fd).st_mtime < _LEFT_EMPTY_S
                if not any(map(_may_live, names)) and (names or not is_young):
                    shutil.rmtree(directory)
                    logger.info("removed what the workers of a dead server left file=%s", directory)
        except OSError as error:
            logger.debug("a directory of workers is not used: %s", error)
