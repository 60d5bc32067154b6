"""The cables and the switch of a network of TUN devices: a program that moves packets between them.

    device ─▶ packet ─▶ its receiver's address ─▶ after the delay ─▶ the receiver's device

Its arguments are ADDRESS=DESCRIPTOR, one for each machine: the machine's address, and the open TUN
device that carries it. Each line of its standard input is an order, as JSON, and is answered by a
line. It ends with its standard input.

    {"delay_s": 0.02}                            each packet arrives so many seconds later
    {"cut": ADDRESS, "from": true, "to": true}   what comes from this machine is lost, and what goes
                                                 to it, also what is on its way
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import select
import sys
import time

_PACKET_BYTES = 65_536
_MOST_AT_ONCE = 64


class _Forwarder:
    def __init__(self, devices: dict[bytes, int]) -> None:
        self._devices = devices  # by address
        self._delay_s = 0.0
        self._cut_from: set[bytes] = set()
        self._cut_to: set[bytes] = set()
        self._numbers = itertools.count()
        self._moving: list[tuple[float, int, bytes]] = []  # when each is due; a heap

    def run(self) -> None:
        """Until the end of the standard input."""
        devices = list(self._devices.values())
        while True:
            wait_s = max(0.0, self._moving[0][0] - time.monotonic()) if self._moving else None
            for fd in select.select([sys.stdin, *devices], [], [], wait_s)[0]:
                if fd is not sys.stdin:
                    self._take(fd)
                elif line := sys.stdin.readline():
                    self._obey(json.loads(line))
                    print("done", flush=True)
                else:
                    return
            self._deliver()

    def _obey(self, order: dict[str, object]) -> None:
        if isinstance(delay_s := order.get("delay_s"), float):
            self._delay_s = delay_s
            return
        address = _packed(str(order["cut"]))
        for name, lost in (("from", self._cut_from), ("to", self._cut_to)):
            if order[name]:
                lost.add(address)
            else:
                lost.discard(address)

    def _take(self, fd: int) -> None:
        due = time.monotonic() + self._delay_s
        for _ in range(_MOST_AT_ONCE):
            try:
                packet = os.read(fd, _PACKET_BYTES)
            except BlockingIOError:
                return
            if packet[0] >> 4 == 4:  # the version of IP
                heapq.heappush(self._moving, (due, next(self._numbers), packet))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._moving and self._moving[0][0] <= now:
            packet = heapq.heappop(self._moving)[2]
            source, target = packet[12:16], packet[16:20]
            device = self._devices.get(target)
            if device is None or source in self._cut_from or target in self._cut_to:
                continue
            try:
                os.write(device, packet)
            except BlockingIOError:  # as a cable that is full: TCP sends it again
                continue


def _packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


if __name__ == "__main__":
    pairs = (argument.split("=") for argument in sys.argv[1:])
    _Forwarder({_packed(address): int(fd) for address, fd in pairs}).run()
