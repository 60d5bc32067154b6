"""A folder for what a server writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.served import short_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder, by a short path."""
    with short_folder() as folder:
        yield folder
