"""`pump`: moves bytes between a stream of tornado and a socket, where the stream is encrypted, and
so cannot be handed to another process or loop.

Each of the two may end what it sends and still read: an outpost does so with its last message. The
stream's own `close` would destroy bytes that are on their way, where others have come that were not
read. So the end of the socket's bytes ends only what is sent over the stream, and what still comes
is read until the peer closes.
"""

from __future__ import annotations

import asyncio
import socket

from distributed.comm.tcp import TCP
from tornado.iostream import IOStream, StreamClosedError

__all__ = ["pump", "pump_to_end"]

_BYTES = 64 * 1024
_FAREWELL_S = 10.0
"""How long one way goes on when the other has ended: a peer that was stopped never closes."""


async def pump(stream: IOStream, sock: socket.socket) -> None:
    """Move bytes both ways until both are at their end, or for 10 s more when one is; close the
    socket.

    Args:
        stream: of the running loop. The caller closes it.
        sock: the other one.
    """
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    ways = [
        asyncio.create_task(_to_socket(stream, sock, loop)),
        asyncio.create_task(_to_stream(stream, sock, loop)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(ways, timeout=_FAREWELL_S)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)
        sock.close()


async def pump_to_end(comm: TCP, sock: socket.socket) -> None:
    """`pump` for a connection of Dask's, which is closed then."""
    try:
        await pump(comm.stream, sock)
    finally:
        comm.abort()


async def _to_socket(
    stream: IOStream, sock: socket.socket, loop: asyncio.AbstractEventLoop
) -> None:
    is_taken = True
    try:
        while data := await stream.read_bytes(_BYTES, partial=True):
            if is_taken:
                is_taken = await _sent(sock, data, loop)
    except (StreamClosedError, OSError):
        return
    finally:
        _shut(sock, socket.SHUT_RDWR)


async def _to_stream(
    stream: IOStream, sock: socket.socket, loop: asyncio.AbstractEventLoop
) -> None:
    try:
        while data := await loop.sock_recv(sock, _BYTES):
            await stream.write(data)
    except (StreamClosedError, OSError):
        return
    finally:
        if not stream.closed():
            _shut(stream.socket, socket.SHUT_WR)


async def _sent(sock: socket.socket, data: bytes, loop: asyncio.AbstractEventLoop) -> bool:
    """Send bytes to the socket. False: nobody reads there any more."""
    try:
        await loop.sock_sendall(sock, data)
    except OSError:
        return False
    return True


def _shut(sock: socket.socket, how: int) -> None:
    try:
        # The stream's own method, for an encrypted socket, would end both directions.
        socket.socket.shutdown(sock, how)
    except OSError:  # the connection has ended
        return
