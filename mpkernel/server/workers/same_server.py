"""`server_name`: which server this process is a worker of.

The processes of one server accept connections from one listening socket, which their parent made
and handed to each of them. So the socket says which processes belong together, also after a reload,
and after gunicorn was replaced by another gunicorn.
"""

from __future__ import annotations

import hashlib
import hmac
import multiprocessing
import os
import socket
import stat

from mpkernel.logs import get_logger
from shm.names import tag_of

__all__ = ["common_secret", "is_started_by_a_supervisor", "server_name"]

logger = get_logger(__name__)

_NAME_CHARACTERS = 12


def server_name(address: str | int) -> str | None:
    """A name that all processes of this server compute alike, and no other process does; None if
    this process is not one of several.

    Args:
        address: where the server listens: a port, or the path of a Unix socket.
    """
    if not is_started_by_a_supervisor():
        return None
    listening = _listening_at(address)
    if not listening:
        logger.debug("this process listens nowhere itself address=%s", address)
        return None
    return hashlib.sha256(repr(sorted(listening)).encode()).hexdigest()[:_NAME_CHARACTERS]


def is_started_by_a_supervisor() -> bool:
    """Whether a server's program started this process as a worker: uvicorn, hypercorn and granian
    do so with `multiprocessing`, and gunicorn says so in the environment."""
    is_gunicorn = os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/")
    return is_gunicorn or multiprocessing.parent_process() is not None


def common_secret(purpose: str) -> str:
    """A secret that all processes of this server have, as far as their supervisor lets them:
    `multiprocessing` hands its key down to each process that it starts, and a fork has it, too.

    Args:
        purpose: what it is for; each has a secret of its own.
    """
    key = bytes(multiprocessing.current_process().authkey)
    return hmac.digest(key, purpose.encode(), "sha256").hex()


def _listening_at(address: str | int) -> list[tuple[object, ...]]:
    """The identities of this process's sockets that listen at this address."""
    found: list[tuple[object, ...]] = []
    for name in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(name))
            if not stat.S_ISSOCK(status.st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as one:
                if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    continue
                own = one.getsockname()
        except (OSError, ValueError) as error:  # closed meanwhile, or of an unknown family
            logger.debug("a descriptor is not looked at: %s descriptor=%s", error, name)
            continue
        if address == (own[1] if isinstance(own, tuple) else own):
            found.append(_identity(status, own))
    return found


def _identity(status: os.stat_result, own: object) -> tuple[object, ...]:
    if status.st_ino:
        return (status.st_dev, status.st_ino)
    return (str(own), *tag_of(os.getppid()))  # macOS numbers no sockets
