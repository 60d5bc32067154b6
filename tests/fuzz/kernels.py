"""What runs on the threads of kernels while their host is fuzzed."""

from __future__ import annotations

import queue

from mpkernel.host.descriptors import bring_back
from mpkernel.host.kernel import Kernel, hosted_half
from mpkernel.wire.frames import Message
from shm import ShmError

__all__ = ["console", "echo", "failing", "files", "flood", "redirected"]


def echo(kernel: Kernel) -> None:
    """Answers with the beginning of each message."""
    for message in kernel:
        kernel.send(message.payload[:64])


def files(kernel: Kernel) -> None:
    """Makes a file of each message, and keeps the last two."""
    kept: list[object] = []
    for message in kernel:
        try:
            file = kernel.files.create(message.payload)
        except ShmError as error:  # a quota
            kernel.send(str(error).encode())
            continue
        kept = [*kept[-1:], file]
        kernel.send(file.url.encode())


def redirected(given: Kernel) -> None:
    """Puts messages into a queue of its own, as marimo's kernels do."""
    kernel = hosted_half(given)
    inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    kernel.interruptible_by(lambda: False)
    kernel.redirect(inbox.put)
    done = 0
    while (message := inbox.get()) is not None:
        kernel.taken(len(message.payload))
        done += 1
        kernel.progressed(done, done)


def flood(kernel: Kernel) -> None:
    """Sends more than its window, unless somebody gives credit; then returns."""
    for _ in range(100):
        kernel.send(bytes(1000))


def console(kernel: Kernel) -> None:
    """Asks for the text that the process writes."""
    bring_back(hosted_half(kernel), lambda text: None)
    echo(kernel)


def failing(kernel: Kernel) -> None:
    """Fails with its first message."""
    message = kernel.receive()
    raise ValueError(message)
