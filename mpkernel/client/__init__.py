"""What a server uses to talk to the embedded Python kernel: `PythonClient`, and the journal with
which its session comes back after a death."""

from __future__ import annotations

from mpkernel.client.python_client import PythonClient, python_kernel

__all__ = ["PythonClient", "python_kernel"]
