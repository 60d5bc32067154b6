"""Sending and receiving on a socket without giving up the interpreter's lock. Neither ever waits.

`os.writev` and `os.readv` give the lock up for the time of the call. Where another thread of the
process computes in Python, it takes the lock, and gives it back after a switch interval (5 ms by
default). So each message would cost a session 5 ms for each other session that computes. A call of
the system that does not wait takes a few microseconds, which is less than to hand the lock over.

Both return the number of bytes, or -1 for any error, also if the call would have to wait, or if the
descriptor is no socket. Then the caller uses the function of `os`, which waits, or says what is
wrong.
"""

from __future__ import annotations

import ctypes
import socket

__all__ = ["receive_now", "send_now"]

_libc = ctypes.PyDLL(None)  # unlike CDLL, it keeps the lock during a call
_send = _libc.send
_send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
_send.restype = ctypes.c_ssize_t
_recv = _libc.recv
_recv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_recv.restype = ctypes.c_ssize_t
_DO_NOT_WAIT = int(socket.MSG_DONTWAIT)


def send_now(fd: int, data: bytes) -> int:
    """Send what the socket takes at once. Returns how many bytes that were."""
    try:
        sent: int = _send(fd, data, len(data), _DO_NOT_WAIT)
    except ctypes.ArgumentError:  # by ctypes, in place of a RecursionError
        return -1
    return sent


def receive_now(fd: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
    """Receive what has come already, at most as much as fits into the buffer. Returns how many
    bytes that were; 0 at the end of the stream."""
    received: int = _recv(fd, buffer, len(buffer), _DO_NOT_WAIT)
    return received
