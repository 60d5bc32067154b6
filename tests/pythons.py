"""The Pythons of this machine that tests use beside their own, and virtual environments of them.

More can be named in `MPKERNEL_TEST_PYTHONS`: paths of their programs, with colons between them.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

__all__ = ["OTHERS", "OWN", "make_environment", "name_of"]

_VERSIONS = [f"3.{minor}" for minor in range(11, 16) if minor != sys.version_info.minor]


def _found() -> list[str]:
    versions = Path.home() / ".pyenv" / "versions"
    found = [sorted(versions.glob(f"{version}.*[0-9]/bin/python")) for version in _VERSIONS]
    named = os.environ.get("MPKERNEL_TEST_PYTHONS", "").split(os.pathsep)
    return [*(str(paths[-1]) for paths in found if paths), *filter(None, named)]


OWN: str = getattr(sys, "_base_executable", sys.executable)
"""The program of the tests' own Python, outside its virtual environment."""

OTHERS = _found()


def name_of(python: str) -> str:
    """A short name for the test that uses it."""
    return Path(python).parent.parent.name


def make_environment(python: str, folder: Path, packages: Sequence[str]) -> str:
    """A virtual environment of this Python, with these packages; its program. Those of the tests'
    own Python are copied from here; those of another one are installed, or the test is skipped.

    Args:
        python: its program.
        folder: where to make it.
        packages: names of packages that need no others.
    """
    subprocess.run([python, "-m", "venv", "--without-pip", "--symlinks", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    if python == OWN:
        for package in packages:
            _copy(package, site)
    elif packages:
        command = [python, "-m", "pip", "install", "--quiet", "--target", str(site), *packages]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no packages for {python} can be had: {done.stderr[-200:]}")
    return str(folder / "bin" / "python")


def _copy(package: str, site: Path) -> None:
    for file in importlib.metadata.distribution(package).files or ():
        if not file.as_posix().startswith("..") and file.suffix != ".pyc":
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(file.locate(), target)
