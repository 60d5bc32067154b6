"""A program in the place of uv."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["replaced_uv"]


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
