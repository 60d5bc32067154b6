"""The beginnings of commands that run in their own mount namespace."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest


def with_mounts(script: str) -> tuple[str, ...]:
    """The beginning of a command that runs where a shell has mounted what this says."""
    failures = []
    for options in (["--mount"], ["--mount", "--map-root-user"]):
        command = ("unshare", *options, "sh", "-c", f'{script} && exec "$@"', "sh")
        probe = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if not probe.returncode:
            return command
        failures.append(probe.stderr)
    pytest.fail(f"no such mount namespace can be had here: {failures}")


def with_small(sizes: Mapping[str | Path, str]) -> tuple[str, ...]:
    """The same: each of these directories is a file system of its own, of this size."""
    mounts = (f"mount -t tmpfs -o size={size} tmpfs {path}" for path, size in sizes.items())
    return with_mounts(" && ".join(mounts))


def seen_by(pid: int, path: Path) -> Path:
    """What a process in a namespace of its own calls by this path."""
    return Path(f"/proc/{pid}/root{path}")


def fill(directory: Path) -> Path:
    """Fill the file system that a directory is in; the file that does."""
    filling = directory / "filling"
    with filling.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            return filling


def names(directory: Path, but: Sequence[str] = ()) -> list[str]:
    """The names of all files under a directory, also hidden ones."""
    found = (str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    return sorted(name for name in found if name not in but)
