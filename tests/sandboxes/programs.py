"""uv: where it keeps what it has downloaded, and a program in its place."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import sys
from pathlib import Path

import psutil

__all__ = ["Halted", "downloads_of_uv", "replaced_uv"]

_UV = os.path.join(os.path.dirname(sys.executable), "uv")


@functools.cache
def downloads_of_uv() -> str:
    """The folder in which this user's uv keeps what it has downloaded. Tests for which marimo is
    installed use it, whatever else they have to themselves: marimo is large."""
    return subprocess.check_output([_UV, "cache", "dir"], text=True).strip()


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
