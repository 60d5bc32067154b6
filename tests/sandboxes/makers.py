"""`Maker`: makes environments as a server does, in this process or in another one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mpkernel.sandboxes import Environment, Making, Recipe, Store, recipe_for
from mpkernel.sandboxes.uv import uv_environment

__all__ = ["Maker"]

_PROGRAM = """
import json, sys
from pathlib import Path
from sandboxes.makers import Maker
folder, env, app, overlay = json.loads(sys.argv[1])
maker = Maker(Path(folder), env, say=lambda line: print(line, flush=True))
try:
    environment = maker.make(app, overlay)
except Exception as error:
    print(type(error).__name__, error, sep=": ", flush=True)
else:
    print(environment.python, flush=True)
sys.stdin.read()
"""


class Maker:
    """Makes environments.

    Attributes:
        store: where they lie.
        env: the variables of a server.
        said: what it was told of the last one.
    """

    def __init__(
        self, folder: Path, env: Mapping[str, str], say: Callable[[str], None] | None = None
    ) -> None:
        self.store = Store(folder)
        self.env = dict(env)
        self.said: list[str] = []
        self._say = say if say is not None else self.said.append

    def recipe(self, app: str, overlay: Sequence[str] = (), left_out: Sequence[str] = ()) -> Recipe:
        found = recipe_for(
            app, overlay=overlay, left_out=left_out, env=uv_environment(self.env, self.env)
        )
        assert found is not None
        return found

    def make(
        self, app: str, overlay: Sequence[str] = (), left_out: Sequence[str] = ()
    ) -> Environment:
        self.said.clear()
        making = Making(
            self.recipe(app, overlay, left_out),
            self.store,
            env=uv_environment(self.env, self.env),
            say=self._say,
        )
        return making.environment()

    def elsewhere(
        self, app: str, overlay: Sequence[str] = (), *, before: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        """The same in another process, which then waits for the end of its input. It writes what it
        was told, and the Python of the environment, or the error."""
        given = json.dumps([str(self.store.directory), self.env, app, list(overlay)])
        return subprocess.Popen(
            [*before, sys.executable, "-c", _PROGRAM, given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**self.env, "PYTHONPATH": ":".join(sys.path)},
        )


def version_in(environment: Environment, module: str = "tiny") -> str:
    """What an environment's Python finds of a module."""
    return subprocess.run(
        [environment.python, "-c", f"import {module}; print({module}.VERSION)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
