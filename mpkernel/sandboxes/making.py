"""`Making`: how uv makes an environment.

    uv venv           an empty environment with a Python that fits
    uv sync --script  what the header names, as `uv run app.py` would have it
    uv pip install    what the server needs beside it, into the same environment

uv chooses the packages of the last step together with those of the header, so that what the header
asks for stays as it asks. If the two contradict each other, uv says so. In one thing the server
overrules the header: a package that its overlay pins has the version that the server has. marimo is
such a package, because it must be the same on both sides.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mpkernel.errors import SandboxError
from mpkernel.sandboxes.compiled import link_compiled
from mpkernel.sandboxes.header import read_header
from mpkernel.sandboxes.lock import Lock
from mpkernel.sandboxes.recipe import Recipe
from mpkernel.sandboxes.store import Environment, Facts, Store
from mpkernel.sandboxes.uv import run_uv

__all__ = ["Making"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"^version(?:_info)? *= *(\S+)", re.MULTILINE)
_NEVER = 'python_version < "0"'
_OVERRIDES = "mpkernel-overrides.txt"
_OTHERS = 3
"""In how many other environments compiled code is looked for."""

_SPACE = "make room in the folder of environments (mpkernel sandbox prune), or set XDG_CACHE_HOME"


class Making:
    """Gets the environment of a recipe: the one that is there, or one that is made now.

    Args:
        recipe: what it is made of.
        store: where environments are kept.
        env: what `uv_environment` gave.
        say: called with each line about what is done, and each that uv writes.
    """

    def __init__(
        self,
        recipe: Recipe,
        store: Store,
        *,
        env: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._recipe = recipe
        self._store = store
        self._env = env
        self._say = say
        self._folder = store.folder_of(recipe.key)

    def environment(self) -> Environment:
        """The environment. Blocks until it is whole: for seconds or minutes, if it must be made.

        Raises:
            SandboxError: it could not be made. What was begun is removed.
        """
        key = self._recipe.key
        while True:
            found = self._store.find_or_lock(key, self._say_that_another_makes_it)
            if isinstance(found, Environment):
                return found
            try:
                made = self._make(found)
            except SandboxError:
                found.remove()
                found.close()
                raise
            if made is not None:
                return made
            found.close()

    def _make(self, lock: Lock) -> Environment | None:
        key = self._recipe.key
        self._store.remove(key)  # what a process left that was killed half-way
        try:
            self._fill(lock)
            facts = Facts(
                app=self._recipe.app,
                dependencies=self._recipe.header.dependencies,
                python=_version_in(self._folder),
                made_at=time.time(),
            )
            return self._store.finish(key, facts, lock)
        except OSError as error:
            self._store.remove(key)
            raise SandboxError(
                f"the environment {self._folder} could not be made: {error}", remedy=_SPACE
            ) from error
        except BaseException:
            self._store.remove(key)
            raise

    def _fill(self, lock: Lock) -> None:
        recipe = self._recipe
        python = str(self._folder / "bin" / "python")
        # The server's own Python is preferred where several fit.
        base = os.path.dirname(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
        path = os.pathsep.join((base, self._env.get("PATH", os.defpath)))
        self._uv(
            lock,
            "venv",
            *("--quiet", "--no-project", "--no-python-downloads"),
            *("--python", recipe.python, str(self._folder)),
            env={"PATH": path},
        )
        with self._script() as script:
            self._uv(
                lock,
                "sync",
                *("--script", script, "--active", "--no-python-downloads"),
                *(("--compile-bytecode",) if not recipe.overlay else ()),
                *(("--locked",) if recipe.has_lock else ()),
                env={"VIRTUAL_ENV": str(self._folder)},
            )
        if read_header(recipe.app) != recipe.header:
            raise SandboxError(
                f"the header of {recipe.app} was changed while its environment was made",
                remedy="open the app again",
            )
        if recipe.overlay:
            link_compiled(self._folder, self._store.last_used(_OTHERS))
            overrides = self._folder / _OVERRIDES
            overrides.write_text("\n".join(_overrides_of(recipe)) + "\n", encoding="utf-8")
            # uv ignores its variable where the option is given.
            of_operator = self._env.get("UV_OVERRIDE", "").split()
            self._uv(
                lock,
                *("pip", "install", "--python", python, "--compile-bytecode"),
                *(f"--override={file}" for file in (overrides, *of_operator)),
                "--",
                *recipe.header.dependencies,
                *recipe.overlay,
            )

    @contextlib.contextmanager
    def _script(self) -> Iterator[str]:
        """The path of a Python file with the header: the app itself, or one that is there for uv
        alone. uv understands relative paths from that file's folder, so it lies beside the app
        where the header may have such paths. Elsewhere the app's folder may be read-only."""
        header = self._recipe.header
        if header.script is None:
            yield self._recipe.app
            return
        folder = Path(self._recipe.app).parent if header.may_name_paths else self._folder
        # The lock is held: a file of this name is what a process left that was killed half-way.
        script = folder / f".mpkernel-{self._recipe.key}.py"
        script.unlink(missing_ok=True)
        with script.open("x", encoding="utf-8") as file:
            file.write(header.script)
        try:
            yield str(script)
        finally:
            script.unlink(missing_ok=True)

    def _uv(self, lock: Lock, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        run_uv(
            arguments,
            env={**self._env, **(env or {})},
            folder=os.path.dirname(self._recipe.app),
            held=lock.fd,
            say=self._say,
        )

    def _say_that_another_makes_it(self) -> None:
        self._say("another process makes the same environment, which this app is going to use")


def _overrides_of(recipe: Recipe) -> list[str]:
    """Lines for uv that overrule what the header and other packages ask for."""
    pinned = [one for one in recipe.overlay if "==" in one or "@" in one]
    named = {_name_of(one) for one in recipe.header.dependencies}
    left_out = [name for name in recipe.left_out if _name_of(name) not in named]
    return [*pinned, *(f"{name} ; {_NEVER}" for name in left_out)]


def _name_of(requirement: str) -> str:
    found = _NAME.match(requirement.strip())
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else requirement


def _version_in(folder: Path) -> str:
    found = _VERSION.search((folder / "pyvenv.cfg").read_text("utf-8", "replace"))
    return found[1] if found else "unknown"
