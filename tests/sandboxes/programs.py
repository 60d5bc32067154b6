"""A program in the place of uv."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psutil

__all__ = ["Halted", "replaced_uv"]


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
    uv = os.path.join(os.path.dirname(sys.executable), "uv")
    program = folder / "replaced-uv"
    program.write_text(
        f'#!/bin/sh\nuv=\'{uv}\'\nif [ "$1" = sync ]; then {script}; fi\nexec "$uv" "$@"\n'
    )
    program.chmod(0o755)
    return str(program)
