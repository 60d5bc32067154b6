"""Tests side by side, in the worker processes of pytest-xdist: `pytest -n 3`.

All tests of a file run in one worker, so that they share what is made once for the file. Files of
end-to-end tests, which compute most of the time, take turns with others, which mostly wait. Those
that take longest are begun first, so that at the end no processor waits for the last file.

A test looks for what it has left: in shared memory, among temporary files, among the servers that
`mpkernel status` finds. So that no worker finds what another one makes, each has its own directory
for temporary files, in which servers are registered too, and, where the system allows it, its own
`/dev/shm`.
"""

from __future__ import annotations

import functools
import itertools
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:  # without it tests run one after the other
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_xdist_make_scheduler",
    "pytest_xdist_setupnodes",
]

_LONGEST = (
    "e2e/test_fidelity.py",
    "e2e/test_chaos.py",
    "e2e/test_cluster_sandboxes.py",
    "e2e/test_cluster_chaos.py",
    "e2e/test_workers.py",
    "e2e/test_recovery.py",
    "e2e/test_sandboxes.py",
    "e2e/test_embedded_app.py",
    "e2e/test_dashboard.py",
    "e2e/test_gunicorn.py",
    "e2e/test_torture.py",
    "e2e/test_surroundings.py",
    "e2e/test_soak.py",
    "e2e/test_leaving_imports.py",
    "fuzz/test_fuzz.py",
    "dask_backend/test_faults.py",
    "dask_backend/test_placing.py",
    "confinement/test_confined_apps.py",
    "cli/test_run.py",
    "faults/test_memory.py",
    "faults/test_marimo_descriptors.py",
    "faults/test_marimo_processes.py",
    "faults/test_marimo_space.py",
    "cli/test_doctor.py",
)
"""Files whose tests take half a minute or more."""

_OWN = 'mount -t tmpfs tmpfs /dev/shm && exec "$@"'


class _Worker(Protocol):
    """execnet's `XSpec`, as far as it is used here: how a worker is started."""

    popen: bool | None
    python: str | None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[_Worker]) -> None:
    for worker in specs:
        if not worker.popen or worker.python:
            continue
        # By a short path, for sockets; and open to the users that some tests become.
        directory = tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True)
        config.add_cleanup(directory.cleanup)  # when the workers have ended
        os.chmod(directory.name, 0o1777)
        environment = ["env", "-u", "XDG_RUNTIME_DIR", f"TMPDIR={directory.name}"]
        worker.python = shlex.join([*environment, *_own_shared_memory(), sys.executable])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # files are begun in the order of the collection
    return LoadFileScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return  # one process runs them all
    files = [list(tests) for _, tests in itertools.groupby(items, key=lambda item: item.path)]
    files.sort(key=_how_late)
    end_to_end = [tests for tests in files if "e2e" in tests[0].path.parts]
    others = [tests for tests in files if "e2e" not in tests[0].path.parts]
    in_turn = sorted([*_spread(end_to_end), *_spread(others)], key=lambda one: one[0])
    items[:] = itertools.chain.from_iterable(tests for _, tests in in_turn)


def _spread(files: list[list[pytest.Item]]) -> Iterator[tuple[float, list[pytest.Item]]]:
    """Each file's place between 0, the beginning of the run, and 1, its end."""
    for number, tests in enumerate(files):
        yield number / len(files), tests


def _how_late(tests: list[pytest.Item]) -> int:
    """Lower for a file that is begun earlier."""
    name = "/".join(tests[0].path.parts[-2:])
    return _LONGEST.index(name) if name in _LONGEST else len(_LONGEST)


@functools.cache
def _own_shared_memory() -> tuple[str, ...]:
    """The beginning of a command that runs with a `/dev/shm` of its own; empty where there can be
    none."""
    for rights in ((), ("--map-root-user",)):
        command = ("unshare", "--mount", *rights, "sh", "-c", _OWN, "sh")
        try:
            tried = subprocess.run((*command, "true"), capture_output=True)
        except FileNotFoundError:  # this is not Linux
            break
        if tried.returncode == 0:
            return command
    return ()
