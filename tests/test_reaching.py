"""What is in a folder that a user may not enter is not called missing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_user import as_nobody, require_root

from mpkernel.reaching import in_words, why_unreachable

_IMPORTS = """
import asyncio, json
from mpkernel.cli import exec, settings
from mpkernel.cli.paths import check_paths, check_readable
from mpkernel.errors import MPKernelError
from mpkernel.server.apps.app_table import AppTable
from mpkernel.server.launching.given_python import given_python
from mpkernel.settings import Settings
"""
_CODE = """
closed, app, python, missing = sys.argv[1:]
table = AppTable(Settings(), (), None)

def said(call, *arguments):
    try:
        call(*arguments)
    except MPKernelError as error:
        return str(error)

print(json.dumps([
    said(check_paths, [app]),
    said(check_readable, [closed]),
    said(exec.run, [app]),
    said(settings.run, [app]),
    said(table.app, app),
    said(given_python, python),
    said(check_paths, [missing]),
]))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_what_may_not_be_reached_is_told_from_what_is_not_there(folder: Path) -> None:
    require_root()
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    app = closed / "app.py"
    app.touch()
    environment = folder / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(app)
    missing = folder / "missing.py"
    *refused, nothing = json.loads(
        as_nobody(_IMPORTS, _CODE, *map(str, (closed, app, environment, missing)))
    )
    for text in refused:
        assert "Permission denied" in text
        assert "there is no" not in text
        assert "this user must have the right to" in text
    assert str(app) in refused[5]
    assert nothing == f"there is nothing at {missing} (check the path)"


def test_what_is_not_there_can_be_reached(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (tmp_path, file, tmp_path / "missing", file / "below"):
        assert why_unreachable(path) is None
    assert why_unreachable(tmp_path / ("long" * 100)) == "File name too long"


def test_an_error_of_the_system_is_told_without_its_number(tmp_path: Path) -> None:
    with pytest.raises(OSError) as refused:
        (tmp_path / "missing").read_bytes()
    assert in_words(refused.value) == f"{tmp_path}/missing: No such file or directory"
    assert in_words(OSError("no number")) == "no number"
