"""The app that `mpkernel doctor` starts: it says back what it is told."""

from __future__ import annotations

from mpkernel.host.kernels import Kernel

__all__ = ["main"]


def main(kernel: Kernel) -> None:
    """Send every message back."""
    for message in kernel:
        kernel.send(message.payload)
