"""`mpkernel sandbox`: the list of environments, and what is removed from it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cli.test_run import mpkernel
from sandboxes.makers import Maker
from sandboxes.wheels import write_app

from mpkernel.private_files import sandbox_directory

pytest_plugins = ["sandboxes.conftest"]


@pytest.fixture(autouse=True)
def kept(maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of this user that no process uses; its folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    maker.store.directory = sandbox_directory()
    environment = maker.make(write_app(tmp_path / "sales.py", 'dependencies = ["tiny==1.0"]'))
    environment.close()
    return environment.folder


def test_environments_are_listed(kept: Path) -> None:
    said = mpkernel("sandbox", "list")
    assert said.returncode == 0
    head, row, then = said.stdout.splitlines()
    assert head.split() == ["ENVIRONMENT", "APP", "PYTHON", "LAST", "USED", "SIZE", "PACKAGES"]
    assert row.split()[:2] == [kept.name, "sales.py"]
    assert row.endswith("tiny==1.0")
    assert then.startswith("→ mpkernel sandbox prune ")
    for words in (["list", "--json"], ["--json"]):
        (listed,) = json.loads(mpkernel("sandbox", *words).stdout)["environments"]
        assert listed["key"] == kept.name


def test_environments_are_removed_by_age(kept: Path) -> None:
    said = mpkernel("sandbox", "prune")
    assert said.stderr == "nothing to remove\n"
    os.utime(kept / "mpkernel.json", (0, 0))
    said = mpkernel("sandbox", "prune", "--older-than", "30d")
    assert said.stdout.startswith(f"removed {kept.name}, ")
    assert not kept.exists()
    assert "no environments in" in mpkernel("sandbox", "list").stderr


def test_an_age_that_is_none_is_refused() -> None:
    said = mpkernel("sandbox", "prune", "--older-than", "soon")
    assert said.returncode == 2
    assert "'soon' is not an age such as 90s, 30min, 12h or 30d" in said.stderr
