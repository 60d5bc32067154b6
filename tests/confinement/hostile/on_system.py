"""Attempts at sockets and at parts of the system that all processes share."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from typing import Any

from .targets import Targets


def connect(family: int, kind: int, address: Any) -> None:
    with socket.socket(family, kind) as one:
        one.settimeout(2)
        one.connect(address)


def listen_abstract(_: Targets) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(f"\0mpkernel-hostile-{os.getpid()}-{threading.get_native_id()}")
        one.listen()


def listen_tcp(_: Targets) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()


def keyring(_: Targets) -> None:
    if ctypes.CDLL(None, use_errno=True).syscall(250, 0, -3, 0) < 0:
        raise PermissionError("keyctl")


def system_v_memory(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.shmget(0, 4096, 0o600)
    if number < 0:
        raise PermissionError(ctypes.get_errno(), "shmget")
    libc.shmctl(number, 0, None)


def system_v_queue(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.msgget(0, 0o600)
    if number < 0:
        raise PermissionError(ctypes.get_errno(), "msgget")
    libc.msgctl(number, 0, None)


def system_v_semaphore(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.semget(0, 1, 0o600)
    if number < 0:
        raise PermissionError(ctypes.get_errno(), "semget")
    libc.semctl(number, 0, 0)


def posix_queue(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    name = f"/mpkernel-test-{os.getpid()}".encode()
    queue = libc.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, None)
    if queue < 0:
        raise PermissionError(ctypes.get_errno(), "mq_open")
    libc.mq_close(queue)
    libc.mq_unlink(name)


def bpf(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    array = struct.pack("=4I", 2, 4, 4, 1) + bytes(112)
    fd = libc.syscall(321 if os.uname().machine == "x86_64" else 280, 0, array, len(array))
    if fd < 0:
        raise PermissionError(ctypes.get_errno(), "bpf")
    os.close(fd)


def io_uring(_: Targets) -> None:
    if ctypes.CDLL(None, use_errno=True).syscall(425, 1, ctypes.create_string_buffer(120)) < 0:
        raise PermissionError("io_uring_setup")


def userfaultfd(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(323 if os.uname().machine == "x86_64" else 282, 1)  # of user mode alone
    if fd < 0:
        raise PermissionError(ctypes.get_errno(), "userfaultfd")
    os.close(fd)
