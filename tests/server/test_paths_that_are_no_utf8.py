"""Paths with bytes that are no UTF-8, as file systems allow them: what names them reaches its
reader, with these bytes as escapes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec
import pytest

from mpkernel import HostPool, PythonClient, Settings
from mpkernel.errors import HostStartError, MPKernelError, UnfitPython
from mpkernel.server.operations.observing import Rates, snapshot_of
from mpkernel.server.supervision.deaths import Death, Reason

from .conftest import APPS

APP = APPS / "kernels.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / os.fsdecode(b"folder\xff")
    path.mkdir()
    return path


def test_an_error_that_names_one_can_be_encoded(folder: Path) -> None:
    error = MPKernelError(f"{folder} is broken", remedy=f"mend {folder}")
    for text in (str(error), error.what, error.remedy):
        assert rb"folder\udcff" in text.encode()


def test_a_death_that_names_one_can_be_encoded(folder: Path) -> None:
    what = f"app.py has ended: {folder}"
    death = Death(app="/app.py", pid=1, reason=Reason.EXIT, what=what, python=str(folder))
    assert msgspec.json.encode(death).count(rb"folder\\udcff") == 2


async def test_a_python_there_that_cannot_run_an_app_is_named(folder: Path) -> None:
    python = folder / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    async with HostPool(Settings(python=str(python))) as pool:
        with pytest.raises(UnfitPython, match=r"folder\\udcff/python"):
            await PythonClient.open(pool, APP)


async def test_a_wrapper_there_runs_apps_and_operators_see_its_name(folder: Path) -> None:
    wrapper = folder / "wrapper"
    wrapper.write_text('#!/bin/sh\nexec "$@"\n')
    wrapper.chmod(0o755)
    async with HostPool(Settings(launch_wrapper=str(wrapper))) as pool:
        await PythonClient.open(pool, APP)
        picture = await snapshot_of(pool, Rates())
    assert rb"folder\\udcff/wrapper" in msgspec.json.encode(picture)


async def test_a_confined_app_cannot_have_its_folders_there_and_that_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    async with HostPool(Settings(confine="files")) as pool:
        with pytest.raises(HostStartError, match=r"folder\\+udcff.* is not UTF-8"):
            await PythonClient.open(pool, APP)
    assert list(folder.iterdir()) == []
