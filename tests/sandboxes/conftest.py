from __future__ import annotations

import os
from pathlib import Path

import pytest
from sandboxes.makers import Maker
from sandboxes.wheels import write_wheel


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with two versions of `tiny`, and with `overlay`, which needs the first of them or a
    later one."""
    folder = tmp_path / "wheels"
    for version in ("1.0", "2.0", "3.0"):
        write_wheel(folder, "tiny", version)
    write_wheel(folder, "overlay", "1.0", needs=["tiny<3"])
    write_wheel(folder, "overlay", "2.0", needs=["tiny<3"])
    return folder


@pytest.fixture
def maker(tmp_path: Path, wheels: Path) -> Maker:
    """Makes environments of these wheels alone, in a folder of the test."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    env |= {
        "UV_CACHE_DIR": str(tmp_path / "uv-cache"),
        "UV_FIND_LINKS": str(wheels),
        "UV_NO_INDEX": "1",
        "UV_OFFLINE": "1",
    }
    return Maker(tmp_path / "store", env)
