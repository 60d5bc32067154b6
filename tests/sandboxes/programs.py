"""uv: variables for it, and a program in its place."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

__all__ = ["Halted", "replaced_uv", "uv_with_marimo"]

_UV = os.path.join(os.path.dirname(sys.executable), "uv")
_AT_START = os.environ.copy()  # before a test has another folder for what is downloaded


@functools.cache
def uv_with_marimo() -> dict[str, str]:
    """Variables with which uv makes environments that have marimo, out of what this user's uv has
    downloaded: marimo is large. What is missing is downloaded here. Afterwards no network is used,
    so that no test waits for a slow one."""
    downloads = subprocess.check_output([_UV, "cache", "dir"], env=_AT_START, text=True)
    online = {"UV_CACHE_DIR": downloads.strip()}
    offline = {**online, "UV_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "needs.py")
        needed = f"marimo=={importlib.metadata.version('marimo')}"
        script.write_text(f'# /// script\n# dependencies = ["{needed}"]\n# ///\n')
        command = [_UV, "sync", "--active", "--script", script, "--python", sys.executable]
        env = {**_AT_START, "VIRTUAL_ENV": f"{folder}/environment"}
        if subprocess.run(command, env=env | offline, capture_output=True).returncode != 0:
            subprocess.run(command, env=env | online, check=True)
    return offline


class Halted:
    """A uv that halts in the middle, until it is told to go on.

    Attributes:
        uv: its program.
    """

    def __init__(self, folder: Path) -> None:
        self._reached, self._go_on = folder / "reached", folder / "go-on"
        os.mkfifo(self._reached)
        os.mkfifo(self._go_on)
        script = f"echo halted; echo $$ > {self._reached}; cat {self._go_on}"
        self.uv = replaced_uv(folder, script)

    async def reached(self) -> psutil.Process:
        """Wait until the uv halts. Returns its process."""
        return psutil.Process(int(await asyncio.to_thread(self._reached.read_text)))

    async def go_on(self) -> None:
        await asyncio.to_thread(self._go_on.write_text, "")


def replaced_uv(folder: Path, script: str) -> str:
    """The path of a program that does as uv does, but this script of a shell first in the place of
    `uv sync`; `$uv` is uv itself."""
    program = folder / "replaced-uv"
    program.write_text(
        f'#!/bin/sh\nuv=\'{_UV}\'\nif [ "$1" = sync ]; then {script}; fi\nexec "$uv" "$@"\n'
    )
    program.chmod(0o755)
    return str(program)
