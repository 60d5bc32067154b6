"""A server's end of the embedded Python kernel: `PythonClient`, and the journal that brings its
session back."""

from __future__ import annotations

from mpkernel.client.python_client import PythonClient, python_kernel

__all__ = ["PythonClient", "python_kernel"]
