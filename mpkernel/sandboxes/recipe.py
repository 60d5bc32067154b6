"""`Recipe`: everything that decides what is in an environment. Equal recipes share one environment.

    what the app says ──── its header, the lock file beside it ─┐
    what the server adds ─ overlay, packages that are left out ─┼─▶ the key
    what the machine has ─ the server's Python, the platform ───┤
    what uv is told ────── its variables, its files ────────────┘

Nothing here asks uv, and nothing takes longer than to read some small files: the key is made each
time that a process of the app is launched.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from mpkernel.sandboxes.header import Header, read_header

__all__ = ["Recipe", "recipe_for"]

_LAYOUT = 1
"""One more with each change in how environments are made: those made before are then not used."""

_KEY_DIGITS = 24

_DECIDING = (
    "UV_BUILD_CONSTRAINT",
    "UV_CONFIG_FILE",
    "UV_CONSTRAINT",
    "UV_DEFAULT_INDEX",
    "UV_EXCLUDE_NEWER",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_FORK_STRATEGY",
    "UV_INDEX",
    "UV_INDEX_STRATEGY",
    "UV_INDEX_URL",
    "UV_MANAGED_PYTHON",
    "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE",
    "UV_NO_BUILD",
    "UV_NO_BUILD_PACKAGE",
    "UV_NO_CONFIG",
    "UV_NO_INDEX",
    "UV_NO_MANAGED_PYTHON",
    "UV_NO_SOURCES",
    "UV_OVERRIDE",
    "UV_PRERELEASE",
    "UV_PYTHON_PREFERENCE",
    "UV_RESOLUTION",
    "UV_TORCH_BACKEND",
)
"""The variables of uv that decide which packages it chooses. Others say how it gets them: with
`UV_OFFLINE`, say, an environment is used that was made without it."""

_NAMING_FILES = ("UV_BUILD_CONSTRAINT", "UV_CONFIG_FILE", "UV_CONSTRAINT", "UV_OVERRIDE")
"""Those of these variables that name files. The content of the files counts, too."""

_CREDENTIALS = re.compile(r"(?<=//)[^/@\s]*@")


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What an environment is made of.

    Attributes:
        key: equal for equal environments; it is the name of a folder.
        app: absolute path of the app whose header is read.
        header: the app's.
        overlay: requirements of the server, which are met whatever the header says of these
            packages.
        left_out: packages that are not installed, even if others need them.
        python: which Python is asked for: versions, or the path of one.
        has_lock: whether the app has a lock file beside it, which then holds.
    """

    key: str
    app: str
    header: Header
    overlay: tuple[str, ...]
    left_out: tuple[str, ...]
    python: str
    has_lock: bool


def recipe_for(
    app: str,
    *,
    overlay: Sequence[str],
    left_out: Sequence[str] = (),
    env: Mapping[str, str],
) -> Recipe | None:
    """What the environment of an app is made of; None if the app has no header.

    Args:
        app: absolute path of its file.
        overlay, left_out: see `Recipe`.
        env: the variables that uv is going to have.

    Raises:
        SandboxError: see `read_header`.
        OSError: a file cannot be read.
    """
    header = read_header(app)
    if header is None:
        return None
    lock = _content(Path(f"{app}.lock")) if header.script is None else None
    base = _base_python()
    python = base
    if header.requires_python is not None:
        python = f"{header.requires_python},>=3.11"
    ingredients = {
        "layout": _LAYOUT,
        "header": header.table,
        "folder": os.path.dirname(app) if header.may_name_paths else None,
        "lock": lock,
        "overlay": overlay,
        "left_out": left_out,
        "python": [python, base, sys.version_info[:2]],
        "platform": sysconfig.get_platform(),
        "variables": {name: _CREDENTIALS.sub("", env[name]) for name in _DECIDING if env.get(name)},
        "files": [
            _CREDENTIALS.sub("", content.decode("utf-8", "replace"))
            for path in _files_of_uv(os.path.dirname(app), env)
            if (content := _content(path)) is not None
        ],
    }
    encoded = msgspec.json.encode(ingredients, order="sorted")
    return Recipe(
        key=hashlib.sha256(encoded).hexdigest()[:_KEY_DIGITS],
        app=app,
        header=header,
        overlay=tuple(overlay),
        left_out=tuple(left_out),
        python=python,
        has_lock=lock is not None,
    )


def _base_python() -> str:
    """The Python with which the server's own virtual environment was made."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _files_of_uv(folder: str, env: Mapping[str, str]) -> Iterator[Path]:
    """The files in which uv looks for settings and constraints. They need not be there."""
    for name in _NAMING_FILES:
        # Names are separated by blanks; a name with a blank in it is not found here, and its
        # content is not seen to change.
        yield from (Path(folder, word) for word in env.get(name, "").split())
    for parent in (Path(folder), *Path(folder).parents):
        settings, project = parent / "uv.toml", parent / "pyproject.toml"
        if settings.exists():
            yield settings
            break
        if _has_settings_of_uv(project):
            yield project
            break
    home = env.get("XDG_CONFIG_HOME") or os.path.join(env.get("HOME", "/"), ".config")
    yield Path(home, "uv", "uv.toml")
    for system in (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield Path(system, "uv", "uv.toml")
    yield Path("/etc/uv/uv.toml")


def _has_settings_of_uv(project: Path) -> bool:
    content = _content(project)
    if content is None:
        return False
    try:
        tool = tomllib.loads(content.decode()).get("tool", {})
    except (ValueError, RecursionError):
        return True  # uv will say what is wrong with it
    return isinstance(tool, dict) and "uv" in tool


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError):
        return None
