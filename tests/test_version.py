"""The version is written in one place, from which the package, the command and the build read
it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import mpkernel
from mpkernel import version

ROOT = Path(__file__).parents[1]


def test_the_package_and_the_command_tell_the_version() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "mpkernel", "--version"], capture_output=True, text=True, check=True
    )
    assert mpkernel.__version__ == version.__version__
    assert told.stdout == f"mpkernel {version.__version__}\n"


def test_the_build_reads_the_version_where_the_package_does() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert ROOT / project["tool"]["hatch"]["version"]["path"] == Path(version.__file__)


def test_the_changelog_begins_with_the_version() -> None:
    heads = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line[:3] == "## "]
    assert heads[0].split()[1] == version.__version__
