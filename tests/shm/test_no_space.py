"""On a machine whose /dev/shm is full, or too small: errors and fallbacks, never a signal."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

_MOUNT_AND_RUN = 'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"'
MIB = 1024 * 1024

Small = Callable[[str], object]

PRELUDE = """
import json, logging, os, sys
from shm import *
MIB = 1024 * 1024

def answer(**facts):
    print(json.dumps(facts))

class Log(logging.Handler):
    messages = []
    def emit(self, record):
        self.messages.append((record.levelname, record.getMessage()))

logging.getLogger("shm").addHandler(Log())
"""


@pytest.fixture(scope="module")
def eight_mib() -> tuple[str, ...]:
    """The beginning of a command that runs with a /dev/shm of its own, of 8 MiB."""
    failures = []
    for options in (["--mount"], ["--mount", "--map-root-user"]):
        command = ("unshare", *options, "sh", "-c", _MOUNT_AND_RUN, "sh")
        probe = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if not probe.returncode:
            return command
        failures.append(probe.stderr)
    pytest.fail(f"no mount namespace can be had here: {failures}")


@pytest.fixture
def small(
    run: Callable[..., subprocess.CompletedProcess[str]],
    eight_mib: tuple[str, ...],
    tmp_path: Path,
) -> Small:
    """Runs a script there, and returns what it prints."""

    def answer(script: str) -> object:
        end = run(PRELUDE + script, before=eight_mib, temp=tmp_path)
        assert (end.returncode, end.stderr) == (0, ""), end.stderr
        assert list(tmp_path.iterdir()) == []
        return json.loads(end.stdout)

    return answer


def test_a_block_that_does_not_fit_says_what_was_asked_for_and_what_is_free(small: Small) -> None:
    assert small("""
block = Block.create(2 * MIB)
try:
    Block.create(16 * MIB)
except NoSpace as error:
    answer(asked=error.asked_bytes, free=error.free_bytes, message=str(error),
           blocks=os.listdir("/dev/shm") == [block.name])
block.unlink()
""") == {
        "asked": 16 * MIB,
        "free": 6 * MIB,
        "message": "no space in /dev/shm: 16,777,216 bytes were asked for, 6,291,456 are free;"
        " make /dev/shm larger, remove files from it, or choose another storage",
        "blocks": True,
    }


def test_a_block_of_all_that_is_free_can_be_written_to_its_end(small: Small) -> None:
    assert small("""
data = os.urandom(8 * MIB)
block = Block.create(len(data))
block.write(memoryview(data))
answer(intact=b"".join(read_chunks(block.name, len(data))) == data)
block.unlink()
""") == {"intact": True}


def test_a_storage_falls_back_to_temporary_files_and_warns_once(small: Small) -> None:
    assert small("""
storage = create_storage("shared_memory")
files = {new_key(): os.urandom(size) for size in (MIB, 32 * MIB, 12 * MIB, 2 * MIB)}
for key, data in files.items():
    storage.store(key, data)
kinds = []
for key in files:
    with storage.registry.lease(key) as entry:
        kinds.append(entry.source.kind)
intact = all(storage.read(key, len(data)) == data for key, data in files.items())
storage.close()
answer(kinds=kinds, intact=intact, levels=[level for level, _ in Log.messages],
       why="33,554,432" in Log.messages[0][1] and "temporary files" in Log.messages[0][1],
       left=os.listdir("/dev/shm"))
""") == {
        "kinds": ["block", "temp_file", "temp_file", "block"],
        "intact": True,
        "levels": ["WARNING"],
        "why": True,
        "left": [],
    }


def test_a_storage_can_fall_back_to_memory(small: Small) -> None:
    assert small("""
storage = SharedMemoryStorage(fallback="in_memory")
data = os.urandom(12 * MIB)
storage.store("large", data)
with storage.registry.lease("large") as entry:
    kind = entry.source.kind
answer(kind=kind, intact=storage.read("large", len(data)) == data, warnings=len(Log.messages))
""") == {"kind": "memory", "intact": True, "warnings": 1}


def test_without_a_fallback_the_error_reaches_who_stores(small: Small) -> None:
    assert small("""
storage = SharedMemoryStorage(fallback=None)
try:
    storage.store("large", bytes(12 * MIB))
except NoSpace as error:
    asked = error.asked_bytes
storage.store("small", b"bytes")
answer(asked=asked, has=storage.has("large"), held=storage.registry.total_bytes,
       small=storage.read("small", 5).decode(), warnings=Log.messages)
""") == {"asked": 12 * MIB, "has": False, "held": 5, "small": "bytes", "warnings": []}


def test_blocks_that_wait_are_given_up_before_there_is_no_space(small: Small) -> None:
    assert small("""
recycler = Recycler()
waiting = [recycler.take(MIB) for _ in range(7)]
for block in waiting:
    recycler.give_back(block)
before = recycler.free_blocks
block = recycler.take(6 * MIB)
answer(before=before, after=recycler.free_blocks, large=block.capacity, blocks=recycler.blocks)
recycler.close()
""") == {"before": 7, "after": 0, "large": 6 * MIB, "blocks": 1}


def test_blocks_that_are_given_up_are_free_although_a_reader_has_them_mapped(small: Small) -> None:
    assert small("""
import shm.mappings
recycler = Recycler()
mappings = shm.mappings.Mappings()
block = recycler.take(5 * MIB)
for _ in range(3):
    mappings.note(block.name)
reader = mappings.open(block.name, 5 * MIB)
read = sum(map(len, reader.chunks()))
reader.close()
recycler.give_back(block)
other = recycler.take(6 * MIB)
other.write(bytes(6 * MIB))
answer(read=read, mapped=mappings.mapped_bytes > 0, blocks=recycler.blocks)
recycler.close()
""") == {"read": 5 * MIB, "mapped": True, "blocks": 1}


def test_the_last_of_the_space_is_not_wasted_on_a_whole_size_class(small: Small) -> None:
    assert small("""
recycler = Recycler()
first = recycler.take(MIB + 1)
block = recycler.take(6 * MIB + 5000)  # its class has 7 MiB
smaller_class = recycler.take(500_000)
answer(fits=block.capacity >= 6 * MIB + 5000, pages=block.capacity % 4096)
recycler.close()
""") == {"fits": True, "pages": 0}


def test_no_shared_memory_at_all_is_a_fallback_too(small: Small) -> None:
    assert small("""
import subprocess
subprocess.run(["mount", "-o", "remount,ro", "/dev/shm"], check=True)
storage = create_storage("shared_memory")
storage.store("key", b"bytes")
with storage.registry.lease("key") as entry:
    kind = entry.source.kind
try:
    SharedMemoryStorage(fallback=None).store("key", b"bytes")
except Unavailable as error:
    message = str(error)
answer(kind=kind, bytes=storage.read("key", 5).decode(), warnings=len(Log.messages),
       hint="choose another storage" in message)
""") == {"kind": "temp_file", "bytes": "bytes", "warnings": 1, "hint": True}


@pytest.mark.parametrize("tracking", [True, False], ids=["tracker runs", "no tracker yet"])
def test_a_process_without_descriptors_left_falls_back_to_memory(
    small: Small, tracking: bool
) -> None:
    assert small(f"""
import resource
storage = SharedMemoryStorage(fallback="in_memory")
if {tracking}:
    storage.store("before", b"bytes")
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
try:
    storage.store("key", b"bytes")
finally:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
answer(bytes=storage.read("key", 5).decode(), warnings=len(Log.messages))
""") == {"bytes": "bytes", "warnings": 1}
