"""Networks for tests: machines with addresses of their own, and cables that can be cut and can
delay.

    this thread ─ TUN ─┐                ┌─ TUN ─ a network namespace: the machine 198.18.0.2
                       ├── forwarder ───┤
                       ┘                └─ TUN ─ another one: 198.18.0.3

The thread that makes a network is in a namespace of its own meanwhile, and so are the threads and
the programs that it starts. If a device were added to the network that other tests use, Chromium
would break off what their pages are loading (`ERR_NETWORK_CHANGED`).

A namespace has no name. It lives as long as the program that was started in it to keep it, which
ends with its standard input, as the forwarder does: so nothing is left if the test itself is
killed.

Needed: root, iproute2, util-linux, /dev/net/tun.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import struct
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Machine", "Network", "network"]

_FORWARDER = Path(__file__).with_name("forwarder.py")
_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEAD = 0x0001 | 0x1000
_CLONE_NEWNET = 0x40000000
_MTU = 1500
_PREFIX = "198.18.0"
"""The first three numbers of the addresses. RFC 2544 keeps these for tests."""


class Machine(NamedTuple):
    """One machine of a network.

    Attributes:
        address: its address.
        inside: what stands before a command that is to run there. Default: nothing,
            for the machine of the calling thread.
        keeper: the process that keeps its namespace; None for the machine of the calling thread.
    """

    address: str
    inside: tuple[str, ...] = ()
    keeper: int | None = None


class Network:
    """A network of the calling thread, and what it starts, and of some machines.

    Attributes:
        here: the machine of the calling thread.
        machines: the others.
    """

    def __init__(self, stack: contextlib.ExitStack, count: int, *, is_apart: bool) -> None:
        if is_apart:
            stack.enter_context(_namespace_of_own())
        self.here = Machine(f"{_PREFIX}.1")
        self.machines: list[Machine] = []
        for number in range(2, count + 2):
            keeper = _program(stack, "unshare", "--net", "sh", "-c", "echo kept; exec cat")
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == "kept\n"
            inside = ("nsenter", f"--net=/proc/{keeper.pid}/ns/net")
            _run(*inside, "ip", "link", "set", "lo", "up")
            self.machines.append(Machine(f"{_PREFIX}.{number}", inside, keeper.pid))
        devices = {one.address: _device(stack, one) for one in (self.here, *self.machines)}
        arguments = [f"{address}={fd}" for address, fd in devices.items()]
        self._forwarder = _program(
            stack, sys.executable, os.fspath(_FORWARDER), *arguments, descriptors=devices.values()
        )

    def delay(self, seconds: float) -> None:
        """Have each packet arrive so many seconds later. A round trip takes twice as long."""
        self._order({"delay_s": float(seconds)})

    def cut(self, machine: Machine, *, sends: bool = True, receives: bool = True) -> None:
        """Cut a machine off from all others.

        Args:
            machine: which.
            sends: whether what it sends is lost.
            receives: whether what is sent to it is lost.
        """
        self._order({"cut": machine.address, "from": sends, "to": receives})

    def join(self, machine: Machine) -> None:
        """Join a machine again that was cut off."""
        self.cut(machine, sends=False, receives=False)

    def _order(self, order: dict[str, object]) -> None:
        assert self._forwarder.stdin is not None
        assert self._forwarder.stdout is not None
        print(json.dumps(order), file=self._forwarder.stdin, flush=True)
        assert self._forwarder.stdout.readline() == "done\n"


@contextlib.contextmanager
def network(machines: int, *, is_apart: bool = True) -> Iterator[Network]:
    """A network.

    Args:
        machines: how many there are beside that of the calling thread.
        is_apart: False: the whole machine is in this network, in the place of the calling thread
            and what it starts. Then no other test may load a page.
    """
    with contextlib.ExitStack() as stack:
        yield Network(stack, machines, is_apart=is_apart)


@contextlib.contextmanager
def _namespace_of_own() -> Iterator[None]:
    """A network namespace for the calling thread, in which it reaches itself."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "no network namespace can be made")
        try:
            _run("ip", "link", "set", "lo", "up")
            yield
        finally:
            if libc.setns(before, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "the network namespace cannot be left")
    finally:
        os.close(before)


def _device(stack: contextlib.ExitStack, machine: Machine) -> int:
    """Make the TUN device of a machine. Returns its descriptor."""
    name = f"mpk{machine.address.rpartition('.')[2]}"
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    stack.callback(os.close, fd)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN_WITHOUT_HEAD))
    if machine.keeper is not None:
        _run("ip", "link", "set", name, "netns", str(machine.keeper))
    ip = (*machine.inside, "ip")
    _run(*ip, "address", "add", f"{machine.address}/24", "dev", name)
    _run(*ip, "link", "set", name, "mtu", str(_MTU), "txqueuelen", "10000", "up")
    return fd


def _program(
    stack: contextlib.ExitStack, *command: str, descriptors: Collection[int] = ()
) -> subprocess.Popen[str]:
    """Start a program that ends with its standard input, and with the stack."""
    program = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=descriptors,
        start_new_session=True,
    )
    stack.enter_context(program)
    stack.callback(program.kill)
    return program


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
