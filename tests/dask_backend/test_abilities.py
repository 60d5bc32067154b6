"""`mpkernel doctor --cluster` says of each worker whether its machine has what only some apps need:
uv, and a kernel that can confine them."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dask_backend.machines import Machines, machines

from mpkernel.cli.doctor import run
from mpkernel.confinement.landlock import version
from mpkernel.sandboxes.uv import find_uv, version_of_uv

WITHOUT_CALL = Path(__file__).parents[1] / "cli" / "without_call.py"
LANDLOCK_CREATE_RULESET = "444"

pytestmark = pytest.mark.skipif(not version(), reason="this kernel has no Landlock to be without")


def uv() -> str:
    found = find_uv()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    """Of one worker as ever, and one whose machine has no uv, and no Landlock."""
    hide = f'mount --bind /dev/null {shlex.quote(os.path.realpath(uv()))} && exec "$@"'
    lacking = ("sh", "-c", hide, "sh", sys.executable, str(WITHOUT_CALL), LANDLOCK_CREATE_RULESET)
    with machines(1) as cluster:
        cluster.add_worker("--name", "lacking", before=lacking)
        yield cluster


def told(cluster: Machines, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the lines."""
    code = run(["--cluster", cluster.address, "--json"])
    lines: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["lines"]
    return code, lines


def test_what_a_worker_lacks_is_a_note(
    cluster: Machines, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = told(cluster, capsys)
    assert (code, {line["level"] for line in lines}) == (0, {"OK"})
    of_cluster, of_workers = lines[:2], lines[2:]
    assert [(line["name"], line["worker"]) for line in of_cluster] == [
        ("encryption", ""),
        ("cluster", ""),
    ]
    addresses = {line["worker"] for line in of_workers}
    assert len(addresses) == 2
    for address in addresses:
        own = [line for line in of_workers if line["worker"] == address]
        assert [line["name"] for line in own] == ["worker", "uv", "confinement"]
        assert all(line["says"].startswith(f"{address}: ") for line in own)
    about = {name: says_of(name, of_workers) for name in ("uv", "confinement")}
    [with_uv, without_uv] = sorted(about["uv"], key=lambda says: "is missing" in says)
    assert f"{version_of_uv(uv())} makes environments" in with_uv
    assert "is missing; --sandbox alone would need it" in without_uv
    [with_it, without] = sorted(about["confinement"], key=lambda says: "cannot be" in says)
    assert f"Landlock {version()}: " in with_it
    assert "apps cannot be confined: Linux 5.13 or later with Landlock is needed" in without


def says_of(name: str, lines: list[dict[str, Any]]) -> list[str]:
    return [line["says"] for line in lines if line["name"] == name]


def test_what_the_settings_ask_for_and_a_worker_lacks_is_a_failure_that_names_it(
    cluster: Machines, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPKERNEL_SANDBOX", "true")
    monkeypatch.setenv("MPKERNEL_CONFINE", "files")
    code, lines = told(cluster, capsys)
    assert code == 2
    failed = [line for line in lines if line["level"] == "FAIL"]
    assert [line["name"] for line in failed] == ["uv", "confinement"]
    assert len({line["worker"] for line in failed}) == 1
    assert "the setting sandbox needs it" in failed[0]["says"]
    assert failed[0]["remedy"].startswith("on that machine: pip install 'mpkernel[sandbox]'")
    assert "confine is files, and no such app starts" in failed[1]["says"]


def test_settings_that_cannot_be_are_a_failure_and_the_workers_are_tried(
    cluster: Machines, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPKERNEL_PING_TIMEOUT", "30")
    code, lines = told(cluster, capsys)
    assert code == 2
    assert [line["name"] for line in lines if line["level"] == "FAIL"] == ["settings"]
    assert [line["name"] for line in lines].count("worker") == 2
