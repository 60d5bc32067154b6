"""The archives that a worker keeps: shared by its processes, removed when nobody uses them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
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


def unlock(locks: list[int] | None) -> None:
    assert locks is not None
    for fd in locks:
        os.close(fd)


def test_an_archive_is_received_by_one_process_at_a_time(kept: KeptArchives) -> None:
    kept.find(DIGEST, 1)
    locks = kept.lock(DIGEST)
    assert kept.lock(DIGEST) is None
    unlock(locks)
    unlock(kept.lock(DIGEST))


@pytest.fixture
def workers(tmp_path: Path) -> list[KeptArchives]:
    """The archives of three workers of one machine."""
    return [KeptArchives(str(tmp_path / f"mpk-1-{number}-1-folders")) for number in (30, 10, 20)]


def test_of_the_workers_of_a_machine_one_receives_an_archive(workers: list[KeptArchives]) -> None:
    for one in workers:
        one.find(DIGEST, 1)
    for receives in workers:
        locks = receives.lock(DIGEST)
        assert [waits.lock(DIGEST) for waits in workers] == [None] * 3
        unlock(receives.lock("0" * 64))
        unlock(locks)
    workers[0].remove()
    unlock(workers[1].lock(DIGEST))


@pytest.mark.parametrize("began", [0, 2**32])  # long ago; or the calendar was set back since
def test_a_process_that_receives_nothing_for_a_while_is_not_waited_for(
    workers: list[KeptArchives], began: int, tmp_path: Path
) -> None:
    slow, other, third = workers
    for one in workers:
        one.find(DIGEST, 1)
        unlock(one.lock(DIGEST))
    locks = slow.lock(DIGEST)
    assert locks is not None
    with slow.receive(DIGEST, len(CONTENT), locks) as receiving:
        for fd in locks:
            os.utime(fd, (began, began))
        assert (other.lock(DIGEST), third.lock(DIGEST)) == ([], [])
        receiving.write(memoryview(CONTENT[:300]))
        assert (other.lock(DIGEST), third.lock(DIGEST)) == (None, None)
        receive(other)
        receiving.write(memoryview(CONTENT[300:]))
        receiving.keep()
    unlock(locks)
    assert [found_in(one) for one in workers] == [CONTENT] * 3


def test_a_process_that_is_killed_while_it_receives_lets_the_next_one_receive(
    workers: list[KeptArchives], tmp_path: Path
) -> None:
    dying, other, _ = workers
    for one in (dying, other):
        one.find(DIGEST, 1)
    code = (
        "import sys\n"
        "from mpkernel.dask_backend.kept_archives import KeptArchives\n"
        "kept = KeptArchives(sys.argv[1])\n"
        "locks, receiving = kept.lock(sys.argv[2]), kept.receive(sys.argv[2], 1000)\n"
        "print(len(locks), flush=True)\n"
        "sys.stdin.read()\n"
    )
    folder = tmp_path / "mpk-1-30-1-folders"
    with subprocess.Popen(
        [sys.executable, "-c", code, folder, DIGEST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        assert other.lock(DIGEST) is None
        process.kill()
        process.wait()
        unlock(other.lock(DIGEST))


def test_of_workers_that_try_at_the_same_moment_one_receives(workers: list[KeptArchives]) -> None:
    for one in workers:
        one.find(DIGEST, 1)
    receiving: list[KeptArchives] = []
    most: list[int] = []
    begin = threading.Barrier(len(workers))

    def work(one: KeptArchives) -> None:
        for _ in range(30):
            begin.wait(timeout=30)
            while (locks := one.lock(DIGEST)) is None:
                continue
            receiving.append(one)
            one.find("0" * 64, 1)  # which takes a while, and lets the others run
            most.append(len(receiving))
            receiving.remove(one)
            unlock(locks)

    threads = [threading.Thread(target=work, args=[one]) for one in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert most == [1] * 90


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
