"""Which versions of marimo are accepted, and what an installation of it without libzmq contains."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import Specifier
from packaging.utils import canonicalize_name
from packaging.version import Version

from mpkernel.errors import UnsupportedMarimo
from mpkernel.marimo_backend.versions import SUPPORTED, check_marimo

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "tests" / "e2e" / "notebooks" / "slider.py"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


class Installed:
    """A directory that, on the path, has marimo seem to be of another version."""

    def __init__(self, directory: Path, version: str) -> None:
        metadata = directory / f"marimo-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: marimo\nVersion: {version}\n"
        )
        self._directory = directory

    def python(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": str(self._directory), **env},
            capture_output=True,
            text=True,
            timeout=60,
        )


CREATE = "import mpkernel; mpkernel.create_asgi_app(); print('made')"


@pytest.mark.parametrize("version", ["0.23.7", "0.26.0"])
def test_a_version_outside_is_refused_before_anything_starts(tmp_path: Path, version: str) -> None:
    installed = Installed(tmp_path, version)
    run = installed.python("-m", "mpkernel", "run", str(NOTEBOOK), "--headless")
    assert run.returncode == 1
    assert run.stdout == ""
    (said,) = run.stderr.splitlines()
    assert f"marimo {version} is installed" in said
    assert "MPKERNEL_ALLOW_ANY_MARIMO=1" in said
    created = installed.python("-c", CREATE)
    assert f"UnsupportedMarimo: marimo {version} is installed" in created.stderr
    assert created.stdout == ""


def test_it_is_tried_with_a_warning_where_the_environment_says_so(tmp_path: Path) -> None:
    installed = Installed(tmp_path, "0.26.0")
    created = installed.python("-c", CREATE, MPKERNEL_ALLOW_ANY_MARIMO="1")
    assert created.stdout == "made\n"
    assert "MPKERNEL_ALLOW_ANY_MARIMO is set, so this version is used" in created.stderr
    refused = installed.python("-c", CREATE, MPKERNEL_ALLOW_ANY_MARIMO="0")
    assert "UnsupportedMarimo" in refused.stderr


@pytest.mark.parametrize("version", ["0.26", "0.26.0rc1", "1"])
def test_short_and_early_versions_are_understood(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    with pytest.raises(UnsupportedMarimo):
        check_marimo()


@pytest.mark.parametrize("version", ["0.23.8", "0.23.16", "0.24.0", "0.25.2", "0.25.99"])
def test_a_version_in_the_range_is_taken(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    assert check_marimo() == version


@pytest.mark.parametrize("version", ["0.23.7", "0.9.0", "0.26.0", "1.0.0"])
def test_a_version_outside_is_refused_with_the_range(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    with pytest.raises(UnsupportedMarimo, match=r"0\.23\.8 up to, but not including, 0\.26\.0"):
        check_marimo()


def test_a_missing_marimo_is_said_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_: str) -> str:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UnsupportedMarimo, match=r"pip install 'mpkernel\[marimo\]'"):
        check_marimo()


def test_the_packages_range_is_the_one_that_is_checked(project: dict[str, Any]) -> None:
    (marimo,) = project["project"]["optional-dependencies"]["marimo"]
    first, end = (".".join(map(str, version)) for version in SUPPORTED)
    specifier = Requirement(marimo).specifier
    bounds = {clause.operator: Version(clause.version) for clause in specifier}
    assert bounds == {">=": Version(first), "<": Version(end)}


def test_the_extra_without_zmq_is_what_marimo_needs_but_pyzmq(project: dict[str, Any]) -> None:
    dependencies = project["project"]["dependencies"]
    listed = project["project"]["optional-dependencies"]["marimo-without-zmq"]
    extra = {_name(one): one for one in map(Requirement, listed)}
    base = {_name(one): one for one in map(Requirement, dependencies)}
    assert not {"pyzmq", "marimo"} & extra.keys()
    wanted = map(Requirement, importlib.metadata.requires("marimo") or ())
    needed = {_name(one): one for one in wanted if one.marker is None or _applies(one)}
    assert needed.pop("pyzmq")
    # One that only some versions of marimo, or of Python, need may be listed too.
    assert needed.keys() <= extra.keys() | base.keys()
    for name, theirs in needed.items():
        ours = [one for one in (extra.get(name), base.get(name)) if one is not None]
        given = [clause for one in ours if _applies(one) for clause in one.specifier]
        for clause in theirs.specifier:
            assert _follows(clause, given), f"{name}: marimo has {clause}, the extra {given}"


def _name(requirement: Requirement) -> str:
    return canonicalize_name(requirement.name)


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _follows(clause: Specifier, given: list[Specifier]) -> bool:
    """Whether what is in all of `given` is in `clause`."""
    bound = Version(clause.version)
    same = [Version(one.version) for one in given if one.operator == clause.operator]
    match clause.operator:
        case ">=":
            return any(version >= bound for version in same)
        case "<":
            return any(version <= bound for version in same)
        case _:
            return any(version == bound for version in same)
