"""Applied to every test: it must leave no process and no shared memory of mpkernel behind."""

from __future__ import annotations

import gc
import os
import re
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest
from descendants import command_of, descendants, still_alive
from hypothesis import settings
from shared_children import SHARED
from workers import (
    pytest_collection_modifyitems,
    pytest_xdist_make_scheduler,
    pytest_xdist_setupnodes,
)

from shm.names import owner_of

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_xdist_make_scheduler",
    "pytest_xdist_setupnodes",
]

# Properties are about bytes, not about how busy the machine is.
settings.register_profile("mpkernel", deadline=None)
settings.load_profile("mpkernel")
# What is run in the background of a shell ignores SIGINT, and with `nohup` SIGHUP, and so would all
# that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Servers of the tests keep sessions and environments here, and not where those of this user are,
# which may be as they like. What uv and pip have downloaded for this user is used again.
_KEPT = tempfile.TemporaryDirectory(prefix="kept-by-tests-")
_DOWNLOADED = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
for _program in ("uv", "pip"):
    os.environ.setdefault(f"{_program.upper()}_CACHE_DIR", os.path.join(_DOWNLOADED, _program))
for _what in ("state", "cache"):
    os.environ[f"XDG_{_what.upper()}_HOME"] = os.path.join(_KEPT.name, _what)
# What Dask's processes look at up to fifty times a second, which takes a tenth of a processor with
# each cluster, they look at once a second: no test is about it.
for _what in ("ADMIN__TICK__INTERVAL", "ADMIN__SYSTEM_MONITOR__INTERVAL"):
    os.environ[f"DASK_DISTRIBUTED__{_what}"] = "1s"
os.environ["DASK_DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL"] = "1s"
os.environ["DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"] = "False"
# What apps print has to reach the server's log without it.
os.environ.pop("PYTHONUNBUFFERED", None)

_SHM = Path("/dev/shm")
_OF_OURS = ("spawn_main", "mpkernel")
_PATIENCE_S = 5.0
# A virtual file of ours, or what user code makes with multiprocessing.
_BLOCK = re.compile(r"mpk-|psm_")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """While tests are collected, nearly all that is made stays: to look for garbage in it takes a
    seventh of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """From here on a collection of garbage leaves out what all the tests consist of, which would
    take it 0.1 s each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def folders_of_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The folder of all `tmp_path`s is made before the first test. A test that has temporary files
    go elsewhere, into a folder that it removes, would otherwise have it made there."""
    tmp_path_factory.getbasetemp()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[_BEFORE] = (frozenset(_our_children()), frozenset(_blocks()))
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    result = yield
    children = _our_children()
    if any(_answers_for_itself(child) for child in children):
        return result
    children_before, blocks_before = item.stash[_BEFORE]
    children = [child for child in children if child not in children_before]
    alive = still_alive(children, _PATIENCE_S)
    for child in alive:
        child.kill()
    assert not alive, f"processes left behind: {alive}"
    blocks = set(_blocks()) - blocks_before
    assert not blocks, f"blocks of shared memory left behind: {sorted(blocks)}"
    return result


def _our_children() -> list[psutil.Process]:
    return [
        child
        for child in descendants()
        if child not in SHARED and any(part in command_of(child) for part in _OF_OURS)
    ]


def _answers_for_itself(child: psutil.Process) -> bool:
    """Whether a process is a server that several tests share. Such a server looks for leftovers
    itself when it ends."""
    try:
        return "MPKERNEL_TEST_MARK" in child.environ()
    except psutil.Error:
        return False


def _blocks() -> list[str]:
    return [name for name in os.listdir(_SHM) if _BLOCK.match(name) and not _is_anothers(name)]


def _is_anothers(name: str) -> bool:
    """Whether a living process that this run did not start owns the block or directory."""
    ours = {os.getpid(), *(child.pid for child in descendants())}
    owner = owner_of(name)
    if owner is not None:
        return owner.may_live and owner.pid not in ours
    return any(_maps(pid, name) for pid in psutil.pids() if pid not in ours)


def _maps(pid: int, name: str) -> bool:
    try:
        return f"{_SHM / name}" in Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:  # it has ended, or may not be looked at
        return False


_BEFORE = pytest.StashKey[tuple[frozenset[psutil.Process], frozenset[str]]]()
