"""Kernels for tests that fail, each in its way."""

from __future__ import annotations

import threading


def fail(kernel):
    raise RuntimeError("this kernel fails on purpose")


def fail_without_utf8(kernel):
    raise RuntimeError("a lone \ud800")


async def wait_for_nothing(kernel):
    kernel.send(b"never sent")


def yield_something(kernel):
    yield kernel.send(b"never sent")


class Unreadable:
    """A loader that fails when the source of a module is asked for."""

    def get_source(self, name):
        raise RuntimeError("no source for anybody")


def fail_without_source(kernel):
    exec(
        compile("1 / 0", "nowhere.py", "exec"), {"__name__": "nowhere", "__loader__": Unreadable()}
    )


def fail_at_length(kernel):
    raise RuntimeError("x" * int(kernel.args))


def make_mistakes(kernel):
    """Call what it is given with wrong arguments, and answer with the errors."""
    for message in kernel:
        try:
            eval(message.payload, {"kernel": kernel})
        except (TypeError, ValueError) as error:
            kernel.send(repr(error).encode())
        else:
            kernel.send(b"done")


def wait_and_fail_to_interrupt(kernel):
    """Ask for an interrupt that fails, and wait until a second one would have been called."""
    asked = threading.Event()

    def interrupt():
        asked.set()
        raise RuntimeError("this interrupt fails on purpose")

    kernel.interruptible_by(interrupt)
    kernel.send(b"begun")
    asked.wait()
    while kernel.receive() is not None:
        pass
