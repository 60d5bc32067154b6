"""`WantedPython`: the Python that an app asks for. Nothing is looked up here.

It is looked up on the machine where the app's process runs: by `python_of_app` in the server, or on
a worker of a cluster.
"""

from __future__ import annotations

import msgspec

from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec

__all__ = ["WantedPython", "wanted_python"]


class WantedPython(msgspec.Struct, frozen=True, kw_only=True):
    """Another Python than the server's.

    Attributes:
        named: the path of its program, or of the folder of a virtual environment. None: there is
            only a sandbox, for an app that has a header.
        sandbox: whether an app that has a header runs in the environment that it describes.
        requirements, left_out: see `KernelSpec`.
    """

    named: str | None
    sandbox: bool
    requirements: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def wanted_python(settings: Settings, kernel: KernelSpec) -> WantedPython | None:
    """The Python that an app asks for; None if that is the server's own.

    Args:
        settings: the app's.
        kernel: what runs there.
    """
    named = settings.python if kernel.executable is None else kernel.executable
    sandbox = settings.sandbox if kernel.sandbox is None else kernel.sandbox
    if named is None and not sandbox:
        return None
    return WantedPython(
        named=named,
        sandbox=sandbox,
        requirements=kernel.requirements,
        left_out=kernel.left_out,
    )
