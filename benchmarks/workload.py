"""What a session's kernel does in every benchmark: the same function on every peer.

A command is words, the first of them its name:

    echo …               comes back as it is
    flood COUNT SIZE     so many messages of so many bytes, all the same object
    forever SIZE         the same without end
    pace RATE COUNT SIZE so many a second
    import MODULE        the module is imported; answers when it is
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

__all__ = ["on_mpkernel", "work"]


def work(
    receive: Callable[[], bytes | None],
    send: Callable[[bytes], None],
    stopped: Callable[[], bool] = bool,
) -> None:
    """Carry out commands until there are no more.

    Args:
        receive: waits for the next command; None when none follows.
        send: sends a message to the client.
        stopped: whether the session was closed. Default: it never is, the process is ended.
    """
    while (command := receive()) is not None:
        match command.split():
            case [b"echo", *_]:
                send(command)
            case [b"flood", count, size]:
                payload = bytes(int(size))
                for _ in range(int(count)):
                    send(payload)
            case [b"forever", size]:
                payload = bytes(int(size))
                while not stopped():
                    send(payload)
            case [b"pace", rate, count, size]:
                _pace(send, int(rate), int(count), bytes(int(size)))
            case [b"import", module]:
                importlib.import_module(module.decode())
                send(command)
            case _:
                raise ValueError(f"no such command: {command!r}")


def _pace(send: Callable[[bytes], None], rate: int, count: int, payload: bytes) -> None:
    began = time.monotonic()
    for number in range(count):
        ahead_s = began + number / rate - time.monotonic()
        if ahead_s > 0:
            time.sleep(ahead_s)
        send(payload)


def on_mpkernel(kernel: Any) -> None:
    """The entry of an mpkernel session."""
    commands = (message.payload for message in kernel)
    work(lambda: next(commands, None), kernel.send, lambda: kernel.stopped)
