"""Fixtures of the commands' tests."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from cli.executing import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes an app."""

    def written(source: str, name: str = "app.py") -> Path:
        app = tmp_path / name
        app.write_text(textwrap.dedent(source))
        return app

    return written
