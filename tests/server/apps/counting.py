"""A kernel for tests that sends numbers, and says when it has done so."""

from __future__ import annotations


def count(kernel):
    """For each message, send a hundred numbers, and make the file of the name that it gives."""
    for message in kernel:
        for number in range(100):
            kernel.send(b"%d" % number)
        open(message.payload, "x").close()
