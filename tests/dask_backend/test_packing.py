"""Packing the folder of an app: what is in the archive, when it is made anew, what is refused."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpkernel.dask_backend.packing import LEFT_OUT, MOST_ENTRIES, Archive, Packed, packed
from mpkernel.errors import ClusterError

_NOBODY = 65534
BOUND = 2**20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    (folder / "data").mkdir(parents=True)
    (folder / "app.py").write_text("x = 1\n")
    (folder / "data" / "größe.txt").write_text("5")
    return folder


@pytest.fixture
def opened() -> Iterator[list[Archive]]:
    """Archives that are closed after the test."""
    found: list[Archive] = []
    yield found
    for one in found:
        one.file.close()


def pack(folder: Path, opened: list[Archive], before: Packed | None = None) -> Packed:
    found = packed(str(folder), max_bytes=BOUND, before=before)
    if found is not before:
        opened.append(found.archive)
    return found


def names_in(archive: Archive) -> list[str]:
    archive.file.seek(0)
    with tarfile.open(fileobj=io.BytesIO(archive.file.read())) as tar:
        return tar.getnames()


def test_all_files_are_in_the_archive_but_those_that_are_left_out(
    folder: Path, opened: list[Archive]
) -> None:
    for name in LEFT_OUT:
        (folder / "data" / name).mkdir()
        (folder / "data" / name / "inside").touch()
    (folder / ".env").write_text("KEY=1")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.path.relpath(folder / "socket"))
        found = pack(folder, opened)
    assert names_in(found.archive) == [".env", "app.py", "data", "data/größe.txt"]


def test_links_are_sent_if_they_stay_within_the_folder(folder: Path, opened: list[Archive]) -> None:
    (folder / "inside").symlink_to("data/größe.txt")
    (folder / "data" / "up").symlink_to("..")
    (folder / "outside").symlink_to("../elsewhere")
    (folder / "absolute").symlink_to(folder / "app.py")
    (folder / "here").symlink_to(".")
    (folder / "by_a_link").symlink_to("here/../elsewhere")
    found = pack(folder, opened)
    assert found.listing.links_left_out == ("absolute", "by_a_link", "outside")
    assert {"inside", "data/up", "here"} <= set(names_in(found.archive))


def test_nothing_is_packed_again_while_nothing_has_changed(
    folder: Path, opened: list[Archive]
) -> None:
    first = pack(folder, opened)
    assert pack(folder, opened, before=first) is first
    (folder / "app.py").write_text("x = 2\n")
    os.utime(folder / "app.py", ns=(0, 1))
    second = pack(folder, opened, before=first)
    assert second.archive.digest != first.archive.digest


def test_the_hash_names_the_content(folder: Path, opened: list[Archive]) -> None:
    assert pack(folder, opened).archive.digest == pack(folder, opened).archive.digest


def test_a_folder_that_is_too_large_is_refused_with_its_size_and_its_largest_file(
    folder: Path,
) -> None:
    with open(folder / "data" / "large.bin", "wb") as file:
        file.truncate(3 * BOUND)
    with pytest.raises(ClusterError) as refused:
        packed(str(folder), max_bytes=BOUND)
    what = f"{folder} cannot be sent to a worker: its files have 3 MiB, and at most 1 MiB are sent;"
    assert refused.value.what.startswith(what)
    assert "the largest is data/large.bin with 3 MiB" in refused.value.what
    assert "cluster_upload_bytes" in refused.value.remedy


def test_a_folder_with_too_many_files_is_refused_with_the_bound(folder: Path) -> None:
    for number in range(MOST_ENTRIES):
        (folder / str(number)).touch()
    with pytest.raises(ClusterError, match=f"{folder} .* more than 10,000 files and folders"):
        packed(str(folder), max_bytes=BOUND)


@pytest.mark.parametrize("what", ["data/größe.txt", "data"])
def test_what_the_server_may_not_read_is_named(folder: Path, what: str) -> None:
    (folder / what).chmod(0)
    code = (
        "import os, sys; from mpkernel.dask_backend.packing import packed\n"
        f"if os.geteuid() == 0: os.setuid({_NOBODY})\n"
        "try: packed('.', max_bytes=2**20)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder
    ).stdout
    (folder / what).chmod(0o700)
    assert said.startswith(
        "ClusterError . cannot be sent to a worker: [Errno 13] Permission denied:"
    )
    assert what in said
    assert "let the server's user read" in said


def test_a_file_that_is_changed_all_the_time_is_named(folder: Path) -> None:
    path, size = folder / "data" / "log.txt", 64 * BOUND  # so that others run while it is read
    path.touch()
    is_over, has_begun = threading.Event(), threading.Event()

    def change() -> None:
        more = 0
        while not is_over.is_set():
            more = more % 1000 + 1
            os.truncate(path, size + more)
            has_begun.set()

    changing = threading.Thread(target=change)
    changing.start()
    try:
        has_begun.wait()
        with pytest.raises(ClusterError, match=r"data/log.txt is changed again and again"):
            packed(str(folder), max_bytes=2 * size)
    finally:
        is_over.set()
        changing.join()


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"No such file or directory.*gone"):
        packed(str(tmp_path / "gone"), max_bytes=BOUND)


def test_without_room_for_the_archive_the_error_says_where_to_make_some(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "data" / "large.bin").write_bytes(os.urandom(BOUND // 2))
    code = (
        "import resource, sys; from mpkernel.dask_backend.packing import packed\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: packed(sys.argv[1], max_bytes=2**20)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith(f"ClusterError {folder} cannot be packed at the server:")
    assert "TMPDIR" in said
