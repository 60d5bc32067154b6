"""The app that `mpkernel doctor` starts: it sends every message back."""

from __future__ import annotations

from mpkernel.host.kernel import Kernel

__all__ = ["main"]


def main(kernel: Kernel) -> None:
    """Send every message back."""
    for message in kernel:
        kernel.send(message.payload)
