"""`OtherPython`: a Python that is not the server's, for the process of an app.

    environment that is whole ─▶ its Python ──────────────────────────────────────▶ the host
    environment that is not ───▶ the server's Python makes it ─ exec ─▶ its Python ─▶ the host

The other Python imports `mpkernel` and `shm` from a folder that holds these two alone, at the end
of its import path. So its own packages come first, and no other package of the server's shows
through. Nor do the variables with which the server's Python finds its own.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import msgspec

import shm
from mpkernel import errors
from mpkernel.errors import HostStartError, SandboxError
from mpkernel.private_files import make_private, sandbox_directory
from mpkernel.sandboxes import Environment, Making, Recipe, Store, recipe_for
from mpkernel.sandboxes.order import Order, written
from mpkernel.sandboxes.uv import uv_environment
from mpkernel.server.launching.environments import environment_for
from mpkernel.server.launching.interpreter import interpreter
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec

__all__ = ["EnvironmentOfApp", "OtherPython", "environment_of"]

_NEEDED = ("msgspec>=0.19",)
"""What `mpkernel` and `shm` import in an app's process."""

_PROGRAM = (
    "import sys; sys.path.append({folder!r});"
    " from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=None, pipe_handle={pipe})"
)
_MAKER = (
    "import sys; sys.path[:] = {path!r}; from mpkernel.host.preparing import main; main({order})"
)

_OF_THE_SERVER = ("PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX")


class EnvironmentOfApp(msgspec.Struct, frozen=True, kw_only=True):
    """The environment in which a process of an app runs.

    Attributes:
        recipe: what it is made of.
        env: the variables of uv.
    """

    recipe: Recipe
    env: dict[str, str]

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

    def python(self, stream_fd: int) -> OtherPython:
        """Its Python, for one launch.

        Args:
            stream_fd: the descriptor on which the process tells what it does.

        Raises:
            HostStartError: it cannot be had.
        """
        store = Store()
        try:
            environment = store.find(self.recipe.key)
            return OtherPython(self.recipe, store, environment, self.env, stream_fd)
        except OSError as error:
            raise SandboxError(
                f"the environment of {self.recipe.app} cannot be had: {error}",
                remedy="look at the limits of this server, and at the space for temporary files",
            ) from error

    def made(self, say: Callable[[str], None]) -> OtherPython:
        """Its Python, for one launch. Blocks until the environment is whole.

        Args:
            say: called with each line about what is done meanwhile.

        Raises:
            SandboxError: it could not be made.
        """
        store = Store()
        making = Making(self.recipe, store, env=self.env, say=say)
        return OtherPython(self.recipe, store, making.environment(), self.env)


def environment_of(app: str, settings: Settings, kernel: KernelSpec) -> EnvironmentOfApp | None:
    """The environment in which the next process of an app runs; None for the server's own.

    Args:
        app: absolute path of the app's file.
        settings: the app's.
        kernel: what runs there.

    Raises:
        SandboxError: the header of the app is not what the specification allows.
    """
    if not (settings.sandbox if kernel.sandbox is None else kernel.sandbox):
        return None
    of_app = environment_for(settings) if kernel.env is None else kernel.env
    env = uv_environment(os.environ, of_app)
    try:
        recipe = recipe_for(
            app,
            overlay=(*_NEEDED, *kernel.requirements),
            left_out=kernel.left_out,
            env=env,
        )
    except OSError as error:
        raise SandboxError(f"{app} cannot be read: {error}", remedy="check the file") from error
    return EnvironmentOfApp(recipe=recipe, env=env) if recipe is not None else None


class OtherPython:
    """Launches one process with the Python of an environment.

    Args:
        recipe: of the environment.
        store: where it lies, or is going to.
        environment: the environment; None if it must be made.
        env: the variables of uv.
        stream_fd: see `EnvironmentOfApp.python`; needed where there is no environment yet.

    Attributes:
        path: its program; it need not be there yet.

    Raises:
        OSError: there is no room for what must be handed over.
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
        self._packages = _own_packages()
        self._order: IO[bytes] | None = None

    def command_line(self, pipe: int) -> list[str]:
        """What is executed.

        Args:
            pipe: the descriptor from which `spawn` reads what to run.
        """
        program = _PROGRAM.format(folder=self._packages, pipe=pipe)
        command = [self.path, "-P", "-c", program, "--multiprocessing-fork"]
        if self._environment is not None:
            return command
        assert self._stream_fd is not None, "the process tells nobody what it does"
        order = self._order = written(
            Order(
                app=self._recipe.app,
                overlay=self._recipe.overlay,
                left_out=self._recipe.left_out,
                env=self._env,
                directory=str(self._store.directory),
                stream_fd=self._stream_fd,
                command=command,
            )
        )
        maker = _MAKER.format(path=[*filter(None, sys.path)], order=order.fileno())
        return [interpreter(), "-P", "-c", maker, "--multiprocessing-fork"]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the process gets beside what every process gets: the lock of its environment, which
        is in use as long as the process lives, or the order to make it."""
        if self._environment is not None:
            return (self._environment.lock.fd,)
        return (self._order.fileno(),) if self._order is not None else ()

    def environ(self, env: Mapping[str, str]) -> dict[str, str]:
        """Variables for the process: those of an active environment, and none that are the
        server's own."""
        folder = os.path.dirname(os.path.dirname(self.path))
        kept = {name: value for name, value in env.items() if not name.startswith(_OF_THE_SERVER)}
        path = env.get("PATH", os.defpath)
        programs = os.path.join(folder, "bin")
        return {**kept, "VIRTUAL_ENV": folder, "PATH": f"{programs}{os.pathsep}{path}"}

    def close(self) -> None:
        """The process is launched, and has its own descriptors."""
        if self._environment is not None:
            self._environment.close()
        if self._order is not None:
            self._order.close()


def _own_packages() -> str:
    """A folder with `mpkernel` and `shm` as the server has them, and nothing else.

    Raises:
        HostStartError: it cannot be made.
    """
    targets = {
        name: os.path.dirname(os.path.abspath(file))
        for name, file in (("mpkernel", errors.__file__), ("shm", shm.__file__))
    }
    digest = hashlib.sha256(msgspec.json.encode(targets, order="sorted")).hexdigest()[:16]
    folder = sandbox_directory().parent / "packages" / digest
    try:
        make_private(folder)
        for name, target in targets.items():
            _link(folder / name, target)
    except OSError as error:
        raise HostStartError(
            f"no folder for the packages of apps' processes can be had: {error}",
            remedy="set XDG_CACHE_HOME to a folder of this user",
        ) from error
    return str(folder)


def _link(path: Path, target: str) -> None:
    try:
        os.symlink(target, path)
    except FileExistsError:
        return
