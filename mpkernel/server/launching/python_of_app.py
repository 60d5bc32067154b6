"""`python_of_app`: which Python the next process of an app runs with.

sandbox, and the app has a header ─▶ its environment
KernelSpec.executable, or else the setting `python` ─▶ that one
neither ─▶ the server's own
"""

from __future__ import annotations

from mpkernel.server.launching.given_python import given_python
from mpkernel.server.launching.other_python import PythonOfApp
from mpkernel.server.launching.sandbox_python import sandbox_of
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec

__all__ = ["python_of_app"]


def python_of_app(app: str, settings: Settings, kernel: KernelSpec) -> PythonOfApp | None:
    """The Python with which the next process of an app runs; None for the server's own.

    Args:
        app: absolute path of the app's file.
        settings: the app's.
        kernel: what runs there.

    Raises:
        SandboxError: the header of the app is not what the specification allows.
        UnfitPython: what is named is not a program.
    """
    wants_sandbox = settings.sandbox if kernel.sandbox is None else kernel.sandbox
    sandbox = sandbox_of(app, settings, kernel) if wants_sandbox else None
    if sandbox is not None:
        return sandbox
    named = settings.python if kernel.executable is None else kernel.executable
    return given_python(named, kernel.requirements) if named is not None else None
