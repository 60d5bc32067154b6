"""Files that a server reads, and that somebody may have replaced: the errors name them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mpkernel.private_files import absolute, make_private, read_bounded, session_directory
from mpkernel.server.store.session_file import read_file


@pytest.mark.parametrize("read", [read_bounded, read_file])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_named(
    read: Callable[[Path, int], bytes], make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "snapshot.json"
    make(path)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="it is not a file") as caught:
        read(path, 100)
    assert caught.value.filename == str(path)
    assert len(os.listdir("/proc/self/fd")) <= len(before)


@pytest.mark.parametrize("read", [read_bounded, read_file])
def test_what_is_too_large_is_named(read: Callable[[Path, int], bytes], tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    path.write_bytes(b"x" * 100)
    path.chmod(0o600)
    assert read(path, 100) == b"x" * 100
    with pytest.raises(OSError) as caught:
        read(path, 99)
    assert caught.value.filename == str(path)


def test_a_path_that_a_setting_names_may_begin_at_the_home_or_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert absolute("~/kept") == session_directory("~/kept") == tmp_path / "kept"
    assert absolute("kept") == Path.cwd() / "kept"
    nobodys = session_directory("~nobody_of_this_name/kept")
    with pytest.raises(FileNotFoundError, match="no home directory"):
        make_private(nobodys)
