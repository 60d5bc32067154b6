"""Folders of temporary files outlive the programs that clean `/tmp` up: here a real one, for which
everything is too old."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from cleaners import Cleaner

from shm.aging import KeptFolder
from shm.tempdir import TempDirectory


@pytest.fixture
def cleaner(tmp_path: Path) -> Cleaner:
    (tmp_path / "tmp").mkdir()
    return Cleaner(tmp_path / "tmp", tmp_path / "tmp.conf")


def test_a_folder_is_kept_with_all_that_it_holds(cleaner: Cleaner) -> None:
    for name in ("kept", "not kept"):
        (cleaner.folder / name / "empty").mkdir(parents=True)
        (cleaner.folder / name / "file").touch()
    kept = KeptFolder(str(cleaner.folder / "kept"))
    assert cleaner.clean() == ["kept", "kept/empty", "kept/file"]
    kept.end()
    assert cleaner.clean() == []


def test_a_file_of_others_with_the_number_of_a_closed_descriptor_stays_open(
    tmp_path: Path,
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    kept = KeptFolder(str(tmp_path))
    number = kept._fd
    os.close(number)
    assert os.open(os.devnull, os.O_RDONLY) == number
    kept.end()
    kept.end()
    os.close(number)
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_has_gone_is_no_error(tmp_path: Path) -> None:
    KeptFolder(str(tmp_path / "nothing")).end()


def test_a_directory_of_temporary_files_is_kept_until_it_is_closed(cleaner: Cleaner) -> None:
    before = set(os.listdir("/proc/self/fd"))
    directory = TempDirectory(str(cleaner.folder))
    source = directory.write(memoryview(b"content"))
    path = Path(source.location)
    left = cleaner.clean()
    assert [name for name in left if name.endswith(path.name)]
    shutil.rmtree(path.parent)
    assert Path(directory.write(memoryview(b"again")).location).read_bytes() == b"again"
    directory.close()
    assert cleaner.clean() == []
    assert set(os.listdir("/proc/self/fd")) == before
