"""The archives that a worker keeps: shared by its processes, removed when nobody uses them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mpkernel.dask_backend.kept_archives as module
from mpkernel.dask_backend.kept_archives import KeptArchives, folder_of_worker
from shm.names import ProcessTag, own_tag

CONTENT = os.urandom(1000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
DEAD = ProcessTag(own_tag().namespace, 2**22 - 1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / f"{own_tag().prefix}folders"


@pytest.fixture
def kept(folder: Path) -> KeptArchives:
    return KeptArchives(str(folder))


def receive(kept: KeptArchives, content: bytes = CONTENT) -> None:
    assert kept.find(DIGEST, len(CONTENT)) is None
    with kept.receive(DIGEST, len(CONTENT)) as receiving:
        for start in range(0, len(content), 300):
            receiving.write(memoryview(content[start : start + 300]))
        receiving.keep()


def found_in(kept: KeptArchives) -> bytes:
    fd = kept.find(DIGEST, len(CONTENT))
    assert fd is not None
    with open(fd, "rb") as file:
        return file.read()


def test_what_was_received_is_found_in_a_private_folder(kept: KeptArchives, folder: Path) -> None:
    receive(kept)
    assert found_in(kept) == CONTENT
    assert folder.stat().st_mode & 0o777 == 0o700
    assert os.listdir(folder) == [DIGEST]
    kept.remove()
    assert not folder.exists()


def test_a_folder_that_is_open_to_others_is_refused(kept: KeptArchives, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    folder.chmod(0o755)
    with pytest.raises(PermissionError):
        kept.find(DIGEST, 1)


@pytest.mark.parametrize(
    "content", [CONTENT[:-1] + b"!", CONTENT[:-1], CONTENT + b"!"], ids=["other", "less", "more"]
)
def test_what_is_not_what_was_announced_is_not_kept(
    kept: KeptArchives, folder: Path, content: bytes
) -> None:
    with pytest.raises(ValueError, match="announced|more bytes"):
        receive(kept, content)
    assert os.listdir(folder) == []


def test_nothing_is_left_of_an_archive_for_which_there_is_no_room(tmp_path: Path) -> None:
    folder = tmp_path / f"{own_tag().prefix}folders"
    code = (
        "import resource, signal, sys\n"
        "from mpkernel.dask_backend.kept_archives import KeptArchives\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "kept = KeptArchives(sys.argv[1])\n"
        "kept.find('0' * 64, 2000)\n"
        "try:\n"
        "    with kept.receive('0' * 64, 0) as receiving:\n"
        "        receiving._left = 2000\n"
        "        receiving.write(memoryview(bytes(2000)))\n"
        "        receiving.keep()\n"
        "except OSError as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
    ).stdout
    assert "File too large" in said
    assert os.listdir(folder) == []


def test_an_archive_is_received_by_one_process_at_a_time(kept: KeptArchives) -> None:
    kept.find(DIGEST, 1)
    lock = kept.lock(DIGEST)
    assert lock is not None
    assert kept.lock(DIGEST) is None
    os.close(lock)
    again = kept.lock(DIGEST)
    assert again is not None
    os.close(again)


def test_the_workers_of_a_machine_share_archives(kept: KeptArchives, tmp_path: Path) -> None:
    receive(kept)
    other_folder = tmp_path / f"{DEAD.prefix}folders"
    other = KeptArchives(str(other_folder))
    assert found_in(other) == CONTENT
    assert (other_folder / DIGEST).stat().st_nlink == 2
    kept.remove()
    assert found_in(other) == CONTENT


def test_an_archive_of_a_folder_that_is_open_to_others_is_not_used(
    kept: KeptArchives, folder: Path, tmp_path: Path
) -> None:
    receive(kept)
    folder.chmod(0o755)
    assert KeptArchives(str(tmp_path / f"{DEAD.prefix}folders")).find(DIGEST, 1000) is None


def test_an_archive_that_no_process_uses_is_removed_after_a_while(
    kept: KeptArchives, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.remove_unused()
    receive(kept)
    kept.remove_unused()
    assert found_in(kept) == CONTENT
    fd = kept.find(DIGEST, len(CONTENT))
    assert fd is not None
    monkeypatch.setattr(module, "KEPT_S", -1.0)
    kept.remove_unused()
    assert os.listdir(folder) == [DIGEST]
    os.close(fd)
    kept.remove_unused()
    assert os.listdir(folder) == []


def test_what_a_dead_worker_kept_is_removed(kept: KeptArchives, tmp_path: Path) -> None:
    receive(kept)
    kept.remove_if_left()
    assert found_in(kept) == CONTENT
    dead_folder = tmp_path / f"{DEAD.prefix}folders"
    dead = KeptArchives(str(dead_folder))
    os.close(dead.find(DIGEST, len(CONTENT)) or 0)
    dead.remove_if_left()
    assert not dead_folder.exists()


def test_the_folder_of_a_worker_says_whose_it_is() -> None:
    assert os.path.basename(folder_of_worker()) == f"{own_tag().prefix}folders"
