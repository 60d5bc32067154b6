"""`pump`: moves bytes between a stream of tornado and a socket, where the stream is encrypted, and
so cannot be handed to another process or loop."""

from __future__ import annotations

import asyncio
import socket

from tornado.iostream import IOStream, StreamClosedError

__all__ = ["pump"]

_BYTES = 64 * 1024


async def pump(stream: IOStream, sock: socket.socket) -> None:
    """Move bytes both ways until one of the two is at its end, and close the socket.

    Args:
        stream: of the running loop. The caller closes it.
        sock: the other one.
    """
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await asyncio.gather(_up(stream, sock, loop), _down(stream, sock, loop))
    finally:
        sock.close()


async def _up(stream: IOStream, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    try:
        while data := await stream.read_bytes(_BYTES, partial=True):
            await loop.sock_sendall(sock, data)
    except (StreamClosedError, OSError):
        stream.close()
    finally:
        _end(sock)


async def _down(stream: IOStream, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    try:
        while data := await loop.sock_recv(sock, _BYTES):
            await stream.write(data)
    except (StreamClosedError, OSError):
        stream.close()
    else:
        stream.close()


def _end(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has ended
        return
