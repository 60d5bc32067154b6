"""The checker of the import rules holds the tree, and would notice."""

from __future__ import annotations

from pathlib import Path

import pytest
from check_imports import breaches


def test_the_import_rules_hold() -> None:
    assert breaches() == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("shm/blocks.py", "import mpkernel"),
        ("mpkernel/wire/frames.py", "from mpkernel.settings import Settings"),
        ("mpkernel/server/pool.py", "from mpkernel.host import kernels"),
        ("mpkernel/host/main.py", "import mpkernel.server.pool"),
        ("mpkernel/host/main.py", "import asyncio"),
        ("mpkernel/server/pool.py", "import marimo"),
        ("mpkernel/server/pool.py", "from mpkernel.cli import run"),
        ("mpkernel/aio/tasks.py", "import zmq"),
    ],
)
def test_a_breach_is_noticed(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(f"def late():\n    {line}\n")
    assert len(breaches(tmp_path)) == 1
