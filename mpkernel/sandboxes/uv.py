"""The program `uv`: where it is, which variables it gets, and one run of it.

uv is the user's, and so are its settings: all variables that begin with `UV_`, its files, proxies
and certificates reach it. Variables that name the environment of the *server* do not, because uv
would change that environment.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sysconfig
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from mpkernel.errors import SandboxError

__all__ = ["find_uv", "no_uv", "run_uv", "uv_environment", "version_of_uv"]

_OF_UV = re.compile(
    r"UV|UV_.*|(https?|all|no|ftp)_proxy|SSL_CERT_(FILE|DIR)|SSL_CLIENT_CERT|NETRC", re.IGNORECASE
)
"""The variables that are for uv: where packages are, and how to get there."""

_OF_THE_SERVER = frozenset(
    {"VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "UV_PROJECT"}
)

_ERROR = re.compile(r"error\b|\s*[x\u00d7] ", re.IGNORECASE)
_KEPT_LINES = 60
_VERSION_WITHIN_S = 10

_INSTALL = "pip install 'mpkernel[sandbox]', or put uv on the PATH"


def find_uv(env: Mapping[str, str] | None = None) -> str | None:
    """The path of uv: what the variable `UV` names, the first on the PATH, or the one that was
    installed beside the server's Python. None if there is none.

    Args:
        env: where `UV` and `PATH` are looked up. Default: the server's environment.
    """
    env = os.environ if env is None else env
    given = env.get("UV")
    beside = os.path.join(sysconfig.get_path("scripts"), "uv")
    for name in (given, "uv", beside):
        found = shutil.which(name, path=env.get("PATH")) if name else None
        if found is not None:
            return os.path.abspath(found)
    return None


def version_of_uv(program: str) -> str | None:
    """The version that this uv says it is; None if it does not run."""
    try:
        said = subprocess.run(
            [program, "--version"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_VERSION_WITHIN_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = said.stdout.split()
    return words[1] if said.returncode == 0 and len(words) > 1 else None


def no_uv(why: str) -> SandboxError:
    """The error if there is no uv.

    Args:
        why: what it is needed for.
    """
    return SandboxError(f"{why}, and uv, which makes environments, is missing", remedy=_INSTALL)


def uv_environment(env: Mapping[str, str], of_app: Mapping[str, str]) -> dict[str, str]:
    """The variables that uv gets: those of the app, and those that are for uv. Building a package
    runs code of that package, which must not see more of the server than the app does.

    Args:
        env: the server's variables.
        of_app: those of them that the app gets.
    """
    for_uv = {name: value for name, value in env.items() if _OF_UV.fullmatch(name)}
    passed = {**of_app, **for_uv, "NO_COLOR": "1"}
    return {
        name: value
        for name, value in passed.items()
        if name not in _OF_THE_SERVER and not name.startswith("PYTHON")
    }


def run_uv(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    folder: str,
    held: int,
    say: Callable[[str], None],
) -> None:
    """Run one command of uv to its end. uv is in the process group of its caller, and is ended with
    it.

    Args:
        arguments: what follows `uv`.
        env: its variables: what `uv_environment` gave, and more.
        folder: where it runs, and looks for settings.
        held: a descriptor that uv, and all that it starts, keep open as long as they live.
        say: called with each line that uv writes.

    Raises:
        SandboxError: there is no uv, or the command failed; with uv's own words.
    """
    program = find_uv(env)
    if program is None:
        raise no_uv("the app has a header that names its packages")
    try:
        process = subprocess.Popen(
            [program, *arguments],
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            pass_fds=(held,),
        )
    except OSError as error:
        raise SandboxError(
            f"uv could not be started: {error}", remedy=f"look at {program}"
        ) from error
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    assert process.stdout is not None
    try:
        with process.stdout:
            for line in process.stdout:
                if line.strip():
                    lines.append(line.rstrip())
                    say(line.strip())
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if code:
        raise _failure(arguments[0], code, list(lines))


def _failure(command: str, code: int, lines: list[str]) -> SandboxError:
    if code < 0:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else str(-code)
        return SandboxError(
            f"uv was ended by {name} while it made the environment of the app",
            remedy="open the app again",
        )
    first = next((at for at, line in enumerate(lines) if _ERROR.match(line)), 0)
    said = "\n".join(lines[first:]) or f"it ended with exit code {code}, and said nothing"
    return SandboxError(
        f"uv could not make the environment of the app (uv {command}): {said}",
        remedy="correct the header of the app, or what uv is set to",
    )
