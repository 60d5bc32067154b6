"""Names say which process a block belongs to; the sweep removes what dead processes left, and
nothing else."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shm import Block, sweep
from shm.names import ProcessTag, next_name, own_tag, owner_of, tag_of
from shm.sweeping import sweep_process

SHM = Path("/dev/shm")
STRANGER = 12345

LEAVES_ALL = """
    import sys
    from multiprocessing import resource_tracker
    from shm import SharedMemoryStorage, TempFileStorage
    from shm.names import own_tag
    storages = [SharedMemoryStorage(), TempFileStorage()]
    for storage in storages:
        storage.store("key", bytes(10_000))
    print(own_tag().prefix, resource_tracker._resource_tracker._pid, flush=True)
    sys.stdin.read()
"""

Forge = Callable[..., str]

tags = st.builds(
    ProcessTag,
    st.integers(0, (1 << 32) - 1),
    st.integers(1, (1 << 22) - 1),
    st.integers(0, 36**7 - 1),
)


@pytest.fixture
def forge() -> Iterator[Forge]:
    """Makes blocks whose names say that a given process has made them."""
    made: list[Path] = []

    def block_of(owner: ProcessTag, number: str = "0", size: int = 1000) -> str:
        made.append(SHM / f"{owner.prefix}{number}")
        made[-1].write_bytes(bytes(size))
        return made[-1].name

    yield block_of
    for path in made:
        path.unlink(missing_ok=True)


@pytest.fixture
def dead() -> ProcessTag:
    """The tag of a process that has ended."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        return tag_of(process.pid)


@pytest.fixture
def killed(start: Callable[..., subprocess.Popen[str]], temp: Path) -> subprocess.Popen[str]:
    """A process that had no chance to clean up, nor had its resource tracker; not waited for."""
    process = start(LEAVES_ALL, temp=temp)
    assert process.stdout is not None
    prefix, tracker = process.stdout.readline().split()
    process.prefix = prefix  # type: ignore[attr-defined]
    os.kill(int(tracker), signal.SIGKILL)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process


@pytest.fixture(scope="module")
def other_time() -> tuple[str, ...]:
    """The beginning of a command that runs in a time namespace whose machine has been up for a day
    longer."""
    failures = []
    for options in ([], ["--map-root-user"]):
        command = ("unshare", "--time", "--boottime", "86400", "--fork", *options)
        probe = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if not probe.returncode:
            return command
        failures.append(probe.stderr)
    pytest.fail(f"no time namespace can be had here: {failures}")


def test_processes_of_several_time_namespaces_have_the_same_tags_for_one_another(
    other_time: tuple[str, ...],
) -> None:
    code = (
        "import sys; from shm.names import own_tag, tag_of;"
        f" print(*own_tag(), *tag_of({os.getpid()}), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [*other_time, sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as there:
        assert there.stdout is not None
        told = tuple(map(int, there.stdout.readline().split()))
        assert told == (*tag_of(told[1]), *own_tag())
        assert ProcessTag(*told[:3]).may_live


@given(tag=tags, number=st.from_regex(r"[0-9a-z]{1,4}", fullmatch=True))
def test_a_name_says_whose_it_is_within_30_characters(tag: ProcessTag, number: str) -> None:
    assert owner_of(tag.prefix + number) == tag
    assert len(tag.prefix + number) <= 30


@given(tag=tags, other=tags)
def test_the_names_of_one_process_do_not_begin_those_of_another(
    tag: ProcessTag, other: ProcessTag
) -> None:
    assume(tag != other)
    assert not f"{other.prefix}0".startswith(tag.prefix)


@given(name=st.text())
def test_a_foreign_name_is_nobody_s(name: str) -> None:
    assert owner_of(name) is None


@given(parts=st.lists(st.text(max_size=8), max_size=6))
def test_only_a_name_that_is_written_as_ours_are_is_ours(parts: list[str]) -> None:
    name = "-".join(["mpk", *parts])
    owner = owner_of(name)
    assert owner is None or name.startswith(owner.prefix)


@pytest.mark.parametrize(
    "name",
    [
        "psm_1a2b3c4d",
        "mpk-1-2-3",
        "mpk-1-2-!-4",
        "mpk--2-3-4",
        "xmpk-1-2-3-4",
        "mpk-+1-2-3-4",
        "mpk- 1-2-3-4",
        "mpk-1_0-2-3-4",
        "mpk-\u0661-2-3-4",
        "mpk-A-2-3-4",
        "mpk-01-2-3-4",
    ],
)
def test_a_name_that_we_would_not_give_is_nobody_s(name: str) -> None:
    assert owner_of(name) is None


def test_names_are_this_process_s_and_no_two_are_the_same() -> None:
    names = [next_name() for _ in range(1000)]
    assert len(set(names)) == 1000
    assert {owner_of(name) for name in names} == {own_tag()}
    assert own_tag() == tag_of(os.getpid())
    assert own_tag().may_live


def test_a_fork_has_a_tag_of_its_own(in_fork: Callable[[Callable[[], object]], str]) -> None:
    parent = own_tag()
    assert in_fork(lambda: own_tag() == tag_of(os.getpid()) != parent) == "True"


def test_a_block_of_a_dead_process_is_swept(forge: Forge, dead: ProcessTag) -> None:
    names = [forge(dead, "0", 1000), forge(dead, "zzzz", 500)]
    swept = sweep()
    assert set(names) <= set(swept.names)
    assert swept.block_bytes >= 1500
    assert not any((SHM / name).exists() for name in names)
    assert not set(names) & set(sweep().names)


def test_looking_removes_nothing(
    forge: Forge, dead: ProcessTag, caplog: pytest.LogCaptureFixture
) -> None:
    name = forge(dead)
    with caplog.at_level(logging.INFO, logger="shm"):
        assert name in sweep(remove=False).names
    assert (SHM / name).exists()
    assert caplog.messages == []


def test_what_was_removed_is_said_once(
    forge: Forge, dead: ProcessTag, caplog: pytest.LogCaptureFixture
) -> None:
    forge(dead)
    with caplog.at_level(logging.INFO, logger="shm"):
        sweep()
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_a_block_of_an_earlier_process_of_the_same_pid_is_swept(forge: Forge) -> None:
    own = own_tag()
    name = forge(own._replace(start=own.start - 1))
    assert name in sweep().names
    assert not (SHM / name).exists()


def test_a_block_of_a_living_process_is_kept(
    forge: Forge, start: Callable[..., subprocess.Popen[str]]
) -> None:
    living = start("import sys; sys.stdin.read()")
    block = Block.create(4096)
    names = [block.name, forge(tag_of(living.pid)), forge(tag_of(1))]
    assert not set(names) & set(sweep().names)
    assert all((SHM / name).exists() for name in names)
    block.unlink()


def test_what_cannot_be_judged_is_kept(forge: Forge, dead: ProcessTag) -> None:
    names = [
        forge(dead._replace(namespace=dead.namespace + 1)),
        forge(dead._replace(namespace=0)),
        forge(own_tag()._replace(start=0)),
    ]
    (SHM / "mpk-not-one-of-ours").write_bytes(b"")
    try:
        assert not {*names, "mpk-not-one-of-ours"} & set(sweep().names)
        assert all((SHM / name).exists() for name in [*names, "mpk-not-one-of-ours"])
    finally:
        (SHM / "mpk-not-one-of-ours").unlink()


def test_a_block_of_another_user_is_kept(forge: Forge, dead: ProcessTag) -> None:
    name = forge(dead)
    os.chown(SHM / name, STRANGER, STRANGER)
    assert name not in sweep().names
    assert (SHM / name).exists()


def test_what_a_killed_process_left_is_swept_blocks_and_directories(
    killed: subprocess.Popen[str], left_by: Callable[[str], list[str]]
) -> None:
    killed.wait()
    prefix = killed.prefix  # type: ignore[attr-defined]
    left = left_by(prefix)
    assert len(left) == 2
    assert set(left) <= set(sweep().names)
    assert left_by(prefix) == []


def test_a_zombie_counts_as_dead(
    killed: subprocess.Popen[str], left_by: Callable[[str], list[str]]
) -> None:
    assert Path(f"/proc/{killed.pid}").exists()
    prefix = killed.prefix  # type: ignore[attr-defined]
    assert len(left_by(prefix)) == 2
    sweep()
    assert left_by(prefix) == []


def test_one_process_can_be_swept_alone(forge: Forge, dead: ProcessTag) -> None:
    name, other = forge(dead), forge(dead._replace(start=dead.start + 1))
    assert sweep_process(dead) == ([name], 1000)
    assert not (SHM / name).exists()
    assert (SHM / other).exists()


def test_a_link_that_is_named_like_a_directory_of_ours_is_not_followed(
    temp: Path, dead: ProcessTag
) -> None:
    target = temp / "target"
    target.mkdir()
    (target / "file").write_bytes(b"bytes")
    link = temp / f"{dead.prefix}link"
    link.symlink_to(target)
    swept = sweep()
    assert (target / "file").exists()
    assert (link.name in swept.names) == (not link.is_symlink()), "said to be removed"


def test_directories_are_swept_when_temporary_files_go_to_shared_memory(
    dead: ProcessTag, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(SHM))
    name = forge(dead, "1")
    directory = SHM / f"{dead.prefix}directory"
    directory.mkdir()
    try:
        assert {name, directory.name} <= set(sweep().names)
        assert not directory.exists()
        assert not (SHM / name).exists()
    finally:
        if directory.exists():
            directory.rmdir()
