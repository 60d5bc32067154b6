"""`SandboxOfApp`: the Python of the environment that an app's header describes.

environment that is whole ─▶ its Python ──────────────────────────────────────▶ the host
environment that is not ───▶ the server's Python makes it ─ exec ─▶ its Python ─▶ the host
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import IO

import msgspec

from mpkernel.errors import SandboxError
from mpkernel.sandboxes import Environment, Making, Recipe, Store, recipe_for
from mpkernel.sandboxes.order import Order, written
from mpkernel.sandboxes.uv import uv_environment
from mpkernel.server.launching.interpreter import interpreter
from mpkernel.server.launching.other_python import NEEDED, Call, program_of, variables_for
from mpkernel.server.launching.wanted_python import WantedPython

__all__ = ["SandboxOfApp", "SandboxPython", "sandbox_of"]

_MAKER = (
    "import sys; sys.path[:] = {path!r}; from mpkernel.host.preparing import main; main({order})"
)


class SandboxOfApp(msgspec.Struct, frozen=True, kw_only=True):
    """The environment in which a process of an app runs: a `PythonOfApp`.

    Attributes:
        recipe: what it is made of.
        env: the variables of uv.
        requirements: see `PythonOfApp`.
    """

    recipe: Recipe
    env: dict[str, str]
    requirements: tuple[str, ...]

    @property
    def key(self) -> str:
        """See `PythonOfApp.key`."""
        return self.recipe.key

    @property
    def folder(self) -> str:
        """Absolute path of its folder, which need not be there yet."""
        return str(Store().folder_of(self.recipe.key))

    @property
    def is_whole(self) -> bool:
        """Whether the environment is there, and can be used at once."""
        environment = Store().find(self.recipe.key)
        if environment is not None:
            environment.close()
        return environment is not None

    def python(self, stream_fd: int) -> SandboxPython:
        """See `PythonOfApp.python`.

        Raises:
            SandboxError: it cannot be used.
        """
        store = Store()
        try:
            environment = store.find(self.recipe.key)
            return SandboxPython(self.recipe, store, environment, self.env, stream_fd)
        except OSError as error:
            raise SandboxError(
                f"the environment of {self.recipe.app} cannot be used: {error}",
                remedy="look at the limits of this server, and at the space for temporary files",
            ) from error

    def made(self, say: Callable[[str], None]) -> SandboxPython:
        """See `PythonOfApp.made`.

        Raises:
            SandboxError: it could not be made.
        """
        store = Store()
        making = Making(self.recipe, store, env=self.env, say=say)
        return SandboxPython(self.recipe, store, making.environment(), self.env)


def sandbox_of(app: str, wanted: WantedPython, env: Mapping[str, str]) -> SandboxOfApp | None:
    """The environment that the header of an app describes; None if it has no header.

    Args:
        app: absolute path of the app's file.
        wanted: what the app asks for.
        env: the variables of its process.

    Raises:
        SandboxError: the header of the app is not what the specification allows.
    """
    for_uv = uv_environment(os.environ, env)
    try:
        recipe = recipe_for(
            app,
            overlay=(NEEDED, *wanted.requirements),
            left_out=wanted.left_out,
            env=for_uv,
        )
    except OSError as error:
        raise SandboxError(f"{app} cannot be read: {error}", remedy="check the file") from error
    if recipe is None:
        return None
    return SandboxOfApp(recipe=recipe, env=for_uv, requirements=wanted.requirements)


class SandboxPython:
    """An `OtherPython`: launches one process with the Python of an environment.

    Args:
        recipe: of the environment.
        store: where it lies, or is going to.
        environment: the environment; None if it must be made.
        env: the variables of uv.
        stream_fd: see `PythonOfApp.python`; needed where there is no environment yet.

    Attributes:
        path: its program; it need not be there yet.
    """

    def __init__(
        self,
        recipe: Recipe,
        store: Store,
        environment: Environment | None,
        env: dict[str, str],
        stream_fd: int | None = None,
    ) -> None:
        self.path = str(store.python_of(recipe.key))
        self._recipe = recipe
        self._store = store
        self._environment = environment
        self._env = env
        self._stream_fd = stream_fd
        self._order: IO[bytes] | None = None

    def command_line(self, call: Call, wrapper: Sequence[str] = ()) -> list[str]:
        """See `OtherPython.command_line`. What makes the environment runs without the wrapper."""
        command = [self.path, "-c", program_of(self.path, call)]
        if self._environment is not None:
            return [*wrapper, *command]
        assert self._stream_fd is not None, "without a stream Pipe, nobody hears of the environment"
        order = self._order = written(
            Order(
                app=self._recipe.app,
                overlay=self._recipe.overlay,
                left_out=self._recipe.left_out,
                env=self._env,
                directory=str(self._store.directory),
                stream_fd=self._stream_fd,
                command=command,
                wrapper=wrapper,
            )
        )
        maker = _MAKER.format(path=[*filter(None, sys.path)], order=order.fileno())
        return [interpreter(), "-P", "-c", maker]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """See `OtherPython.descriptors`: the lock of the environment, which is in use as long as
        the process lives, or the order to make it."""
        if self._environment is not None:
            return (self._environment.lock.fd,)
        return (self._order.fileno(),) if self._order is not None else ()

    def environ(self, env: Mapping[str, str]) -> dict[str, str]:
        """See `OtherPython.environ`."""
        return variables_for(env, os.path.dirname(os.path.dirname(self.path)))

    def close(self) -> None:
        """See `OtherPython.close`."""
        if self._environment is not None:
            self._environment.close()
        if self._order is not None:
            self._order.close()
