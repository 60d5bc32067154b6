"""`mpkernel exec --confine`: an app in the foreground that need not be trusted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mpkernel.confinement.landlock import version

APP = """
import os, sys
print(os.environ["HOME"], sys.argv[1:])
print(open(sys.argv[1]).read())
"""

pytestmark = pytest.mark.skipif(version() < 6, reason="this kernel cannot confine an app wholly")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("of the user")
    return tmp_path / "secret"


def execute(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    app = tmp_path / "app" / "app.py"
    app.parent.mkdir(exist_ok=True)
    app.write_text(APP)
    command = [sys.executable, "-m", "mpkernel", "exec", *arguments[:-1], str(app), arguments[-1]]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("level", ["files", "strict"])
def test_what_is_not_named_is_refused_and_the_help_names_the_setting(
    tmp_path: Path, secret: Path, level: str
) -> None:
    ended = execute(tmp_path, "--confine", level, str(secret))
    assert ended.returncode == 1
    assert "PermissionError" in ended.stderr
    assert f"this app is confined (confine={level})" in ended.stderr
    assert "of the user" not in ended.stdout
    assert not os.path.exists(ended.stdout.split()[0])


def test_what_is_named_can_be_read(tmp_path: Path, secret: Path) -> None:
    ended = execute(tmp_path, "--confine=strict", f"--confine-read={secret}", str(secret))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "of the user" in ended.stdout


def test_an_impossible_option_is_refused(tmp_path: Path, secret: Path) -> None:
    ended = execute(tmp_path, "--confine", "somewhat", str(secret))
    assert ended.returncode != 0
    assert "it takes off or files or strict" in ended.stderr


def test_an_app_whose_path_is_no_utf8_cannot_be_confined_and_that_is_said(
    tmp_path: Path, secret: Path
) -> None:
    folder = tmp_path / os.fsdecode(b"folder\xff")
    folder.mkdir()
    refused = execute(folder, "--confine=files", str(secret))
    assert refused.returncode == 1
    assert "folder\\udcff" in refused.stderr
    assert refused.stderr.endswith(" is not UTF-8 (rename it)\n")
    assert "Traceback" not in refused.stderr


def test_what_may_not_be_written_is_refused_with_the_help_too(tmp_path: Path) -> None:
    """As a file system that is read-only, where the process has a mount namespace."""
    app = tmp_path / "app.py"
    app.write_text("open(__file__ + '.new', 'w')")
    command = [sys.executable, "-m", "mpkernel", "exec", "--confine", "files", str(app)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 1
    assert "this app is confined (confine=files)" in ended.stderr
    assert not (tmp_path / "app.py.new").exists()
