"""`GivenPython`: the interpreter, or the virtual environment, that a setting or a `KernelSpec`
names.

It is checked before each launch. So when somebody has repaired it, the next process uses it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import msgspec

from mpkernel.errors import UnfitPython
from mpkernel.reaching import HOW_TO_REACH, why_unreachable
from mpkernel.server.launching.other_python import Call, program_of, variables_for

__all__ = ["GivenPython", "given_python"]

_REMEDY = "name a Python's program, or the folder of a virtual environment"


class GivenPython(msgspec.Struct, frozen=True, kw_only=True):
    """A Python that is named by its path. It is both the `PythonOfApp` and the `OtherPython` of
    each launch.

    Attributes:
        path: its program.
        requirements: see `PythonOfApp`.
    """

    path: str
    requirements: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """See `PythonOfApp.key`."""
        return "\n".join((self.path, *self.requirements))

    @property
    def folder(self) -> None:
        """See `PythonOfApp.folder`: None, because nothing is made for the app."""

    @property
    def is_whole(self) -> bool:
        """See `PythonOfApp.is_whole`."""
        return True

    def python(self, stream_fd: int) -> Self:
        """See `PythonOfApp.python`."""
        return self

    def made(self, say: Callable[[str], None]) -> Self:
        """See `PythonOfApp.made`."""
        return self

    def command_line(self, call: Call, wrapper: Sequence[str] = ()) -> list[str]:
        """See `OtherPython.command_line`."""
        return [*wrapper, self.path, "-c", program_of(self.path, call)]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """See `OtherPython.descriptors`: none."""
        return ()

    def environ(self, env: Mapping[str, str]) -> dict[str, str]:
        """See `OtherPython.environ`."""
        folder = os.path.dirname(os.path.dirname(self.path))
        is_environment = os.path.exists(os.path.join(folder, "pyvenv.cfg"))
        return variables_for(env, folder if is_environment else None)

    def close(self) -> None:
        """See `OtherPython.close`."""


def given_python(named: str, requirements: tuple[str, ...] = ()) -> GivenPython:
    """The Python at this path.

    Args:
        named: the path of its program, or of the folder of a virtual environment; "~" is the
            user's home.
        requirements: see `PythonOfApp`.

    Raises:
        UnfitPython: there is nothing that could be executed.
    """
    path = os.path.abspath(os.path.expanduser(named))
    if os.path.isdir(path):
        folder, path = path, os.path.join(path, "bin", "python")
        if not os.path.lexists(path):
            raise UnfitPython(
                f"{folder} is not a virtual environment: it has no bin/python", remedy=_REMEDY
            )
    if reason := why_unreachable(path):
        raise UnfitPython(
            f"the Python {os.path.realpath(path)} cannot be reached: {reason}", remedy=HOW_TO_REACH
        )
    if not os.path.exists(path):
        raise UnfitPython(f"there is no Python {path}", remedy=_REMEDY)
    if not os.access(path, os.X_OK):
        raise UnfitPython(
            f"{path} may not be executed by this user", remedy=f"{_REMEDY}, or change its mode"
        )
    return GivenPython(path=path, requirements=requirements)
