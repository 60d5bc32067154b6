"""Fixtures of the tests of clusters."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from dask_backend.apart import shared_folder
from dask_backend.machines import TEMPORARY


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that no worker of `machines` has, also where tests run side by side: pytest's own
    lies elsewhere then."""
    with tempfile.TemporaryDirectory(dir=TEMPORARY) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """A folder that the workers have, too."""
    with shared_folder() as folder:
        yield folder
