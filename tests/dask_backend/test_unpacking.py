"""Unpacking the archive of an app's folder: into a private folder, and nowhere else."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from mpkernel.dask_backend.packing import MOST_ENTRIES, packed
from mpkernel.dask_backend.unpacking import remove_copy, unpacked
from shm.names import own_tag, owner_of


def never() -> bool:
    return False


@pytest.fixture(autouse=True, params=["with filters", "without"])
def _filters(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python before 3.11.4, which Debian 12 has, knows no filters of `tarfile`."""
    if request.param == "without":
        monkeypatch.setattr("mpkernel.dask_backend.unpacking._FILTER", {})


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are made."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(path))
    return path


def archive_of(tmp_path: Path, *members: tarfile.TarInfo) -> int:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for member in members:
            archive.addfile(member)
    path = tmp_path / "archive"
    path.write_bytes(content.getvalue())
    return os.open(path, os.O_RDONLY)


def a_member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_a_folder_comes_back_as_it_was_packed(tmp_path: Path, temporary: Path) -> None:
    folder = tmp_path / "notebooks"
    (folder / "empty").mkdir(parents=True)
    (folder / "app.py").write_text("x = 1\n")
    (folder / "run.sh").write_text("true")
    (folder / "run.sh").chmod(0o777)
    (folder / "read_only.txt").touch(0o444)
    (folder / "link").symlink_to("app.py")
    os.utime(folder / "app.py", (0, 1_000_000_000))
    (folder / os.fsdecode(b"not-utf-8-\xff")).touch()
    found = packed(str(folder), max_bytes=1000)
    with found.archive.file as file:
        own = Path(unpacked(file.fileno(), "notebooks", never))
    assert own.parent == temporary
    assert owner_of(own.name) == own_tag()
    assert own.stat().st_mode & 0o777 == 0o700
    copy = own / "notebooks"
    assert sorted(os.listdir(copy)) == sorted(os.listdir(folder))
    assert (copy / "link").readlink() == Path("app.py")
    assert (copy / "app.py").read_text() == "x = 1\n"
    assert (copy / "app.py").stat().st_mtime == 1_000_000_000
    assert (copy / "run.sh").stat().st_mode & 0o777 == 0o755
    remove_copy(str(own))
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "member",
    [
        a_member("../outside"),
        a_member("/outside"),
        a_member("link", tarfile.SYMTYPE, "../../outside"),
        a_member("link", tarfile.SYMTYPE, "/etc/passwd"),
        a_member("hard", tarfile.LNKTYPE, "../../outside"),
        a_member("pipe", tarfile.FIFOTYPE),
        a_member("device", tarfile.CHRTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.linkname}".replace("/", "_"),
)
def test_what_would_leave_the_folder_is_refused_and_nothing_is_left(
    tmp_path: Path, temporary: Path, member: tarfile.TarInfo
) -> None:
    fd = archive_of(tmp_path, a_member("app.py"), member)
    with pytest.raises(ValueError, match=member.name.strip("./")):
        unpacked(fd, "notebooks", never)
    os.close(fd)
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("content", [b"no archive", b"", b"x" * 2000])
def test_what_is_no_archive_is_refused(tmp_path: Path, temporary: Path, content: bytes) -> None:
    (tmp_path / "archive").write_bytes(content)
    with (tmp_path / "archive").open("rb") as file, pytest.raises(ValueError, match="."):
        unpacked(file.fileno(), "notebooks", never)
    assert list(temporary.iterdir()) == []


def test_too_many_entries_are_refused(tmp_path: Path, temporary: Path) -> None:
    fd = archive_of(tmp_path, *(a_member(str(number)) for number in range(MOST_ENTRIES + 1)))
    with pytest.raises(ValueError, match="more than 10000 entries"):
        unpacked(fd, "notebooks", never)
    os.close(fd)
    assert list(temporary.iterdir()) == []


def test_a_copy_is_removed_that_the_app_has_closed_to_itself(temporary: Path) -> None:
    own = temporary / "own"
    (own / "app" / "closed").mkdir(parents=True)
    (own / "app" / "closed" / "file").touch()
    (own / "app" / "closed").chmod(0)
    (own / "app").chmod(0)
    remove_copy(str(own))
    assert not own.exists()
    remove_copy(str(own))
