"""`python_of_app`: which Python the next process of an app runs with.

sandbox, and the app has a header ─▶ its environment
KernelSpec.executable, or else the setting `python` ─▶ that one
neither ─▶ the server's own
"""

from __future__ import annotations

from collections.abc import Mapping

from mpkernel.server.launching.environments import environment_for
from mpkernel.server.launching.given_python import given_python
from mpkernel.server.launching.other_python import PythonOfApp
from mpkernel.server.launching.sandbox_python import sandbox_of
from mpkernel.server.launching.wanted_python import WantedPython, wanted_python
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec

__all__ = ["python_of_app", "python_on_this_machine"]


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
    wanted = wanted_python(settings, kernel)
    if wanted is None:
        return None
    env = environment_for(settings) if kernel.env is None else kernel.env
    return python_on_this_machine(app, wanted, env)


def python_on_this_machine(
    app: str, wanted: WantedPython, env: Mapping[str, str]
) -> PythonOfApp | None:
    """The Python that an app asks for, as this machine has it; None for the one that runs this
    code.

    Args:
        app: absolute path of the app's file on this machine.
        wanted: what it asks for.
        env: the variables of its process.

    Raises:
        SandboxError, UnfitPython: see `python_of_app`.
    """
    if wanted.sandbox:
        sandbox = sandbox_of(app, wanted, env)
        if sandbox is not None:
            return sandbox
    return given_python(wanted.named, wanted.requirements) if wanted.named is not None else None
