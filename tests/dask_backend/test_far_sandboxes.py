"""Apps on a cluster in environments that uv makes on the worker's machine, in a store there."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from dask_backend.apart import on_machine, shared_folder, there
from dask_backend.machines import TEMPORARY, Machines, machines
from dask_backend.talking import printed, said
from descendants import has_ended
from sandboxes.programs import Halted
from sandboxes.wheels import write_app, write_installed, write_wheel
from waiting import until, until_async

from mpkernel import HostPool, PythonClient, Restarted, Settings
from mpkernel.errors import SandboxError
from mpkernel.server.operations.observing import Rates, snapshot_of
from mpkernel.server.operations.snapshot import HostSnapshot
from mpkernel.server.supervision.deaths import Reason

ABOUT = "import sys, tiny; print(tiny.VERSION, sys.prefix)"
STORE = f"{TEMPORARY}/cache/mpkernel/sandboxes"
"""Where the worker keeps environments, on its own machine."""


class Place(NamedTuple):
    """A cluster of one worker.

    Attributes:
        cluster: of one worker.
        shared: a folder that the worker has, too.
        halted: what runs there in the place of uv.
    """

    cluster: Machines
    shared: Path
    halted: Halted


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with shared_folder() as shared, pytest.MonkeyPatch.context() as patch:
        for version in ("1.0", "2.0", "3.0"):
            write_wheel(shared / "wheels", "tiny", version)
        write_installed(shared / "wheels", "msgspec")
        (shared / "uv").mkdir()
        halted = Halted(shared / "uv")
        log = shared / "uv.log"
        program = shared / "uv" / "logging"
        program.write_text(
            f'#!/bin/sh\necho "$1" >> {log}\n'
            f'if [ -e {shared}/halt ]; then exec {halted.uv} "$@"; fi\n'
            f'exec {Path(sys.executable).with_name("uv")} "$@"\n'
        )
        program.chmod(0o755)
        for name, value in (
            ("UV", str(program)),
            ("XDG_CACHE_HOME", f"{TEMPORARY}/cache"),
            ("UV_CACHE_DIR", f"{TEMPORARY}/uv-cache"),
            ("UV_FIND_LINKS", str(shared / "wheels")),
            ("UV_NO_INDEX", "1"),
            ("UV_OFFLINE", "1"),
        ):
            patch.setenv(name, value)
        with machines(1) as cluster:
            patch.undo()  # what the worker has, the server has not
            yield Place(cluster, shared, halted)


@pytest.fixture
async def pool(place: Place) -> AsyncIterator[HostPool]:
    async with HostPool(Settings(cluster=place.cluster.address, sandbox=True)) as pool:
        yield pool


def app_of(place: Place, name: str, version: str) -> str:
    return write_app(place.shared / f"{name}.py", f'dependencies = ["tiny=={version}"]')


def made(place: Place) -> int:
    """How many environments uv was told to begin."""
    log = place.shared / "uv.log"
    return log.read_text().split().count("venv") if log.exists() else 0


async def shown_of(pool: HostPool) -> HostSnapshot:
    """What operators see of the process of the app that was opened first."""
    return (await snapshot_of(pool, Rates())).apps[0].hosts[0]


async def refused(pool: HostPool, app: str) -> tuple[SandboxError, str]:
    """How an environment is refused, and the worker's address."""
    with pytest.raises(SandboxError) as caught:
        await PythonClient.open(pool, app)
    [found] = [one for one in pool.apps if one.path == app]
    assert found.last_death is not None
    assert found.last_death.reason is Reason.ENVIRONMENT
    assert found.last_death.worker is not None
    return caught.value, found.last_death.worker


async def test_apps_with_two_versions_run_beside_each_other_and_come_back(
    pool: HostPool, place: Place
) -> None:
    apps = [app_of(place, "one", "1.0"), app_of(place, "two", "2.0")]
    clients = await asyncio.gather(*(PythonClient.open(pool, app) for app in apps))
    before = [(await printed(client, ABOUT)).split() for client in clients]
    assert [version for version, _ in before] == ["1.0", "2.0"]
    assert all(prefix.startswith(STORE) for _, prefix in before)
    shown = await shown_of(pool)
    assert (shown.environment, shown.python) == (before[0][1], f"{before[0][1]}/bin/python")
    assert not os.path.exists(before[0][1])  # on the server's machine
    begun = made(place)
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    clients[0].execute(crash, cell="crash")
    await said(clients[0], Restarted)
    assert (await printed(clients[0], ABOUT)).split() == before[0]
    assert made(place) == begun
    assert await printed(clients[1], "print(1)") == "1\n"
    for client in clients:
        await client.close()


async def test_one_header_is_made_once_for_two_apps_that_start_at_once(
    pool: HostPool, place: Place
) -> None:
    begun = made(place)
    apps = [app_of(place, f"same-{number}", "3.0") for number in range(2)]
    clients = await asyncio.gather(*(PythonClient.open(pool, app) for app in apps))
    about = {await printed(client, ABOUT) for client in clients}
    assert len(about) == 1
    assert about.pop().startswith("3.0 ")
    assert made(place) == begun + 1
    for client in clients:
        await client.close()


async def test_an_app_without_a_header_has_the_workers_packages(
    pool: HostPool, place: Place
) -> None:
    app = place.shared / "plain.py"
    app.write_text("")
    async with await PythonClient.open(pool, app) as client:
        assert await printed(client, "import dask, sys; print(sys.prefix)") == f"{sys.prefix}\n"
        assert (await shown_of(pool)).python is None


async def test_uv_is_ended_with_those_who_wait_and_with_the_pool(place: Place) -> None:
    """Meanwhile the server and its other apps go on."""
    app = write_app(place.shared / "halted.py", 'dependencies = ["tiny<2", "tiny>0"]')
    plain = place.shared / "plain.py"
    plain.write_text("")
    (place.shared / "halt").touch()
    settings = Settings(cluster=place.cluster.address, sandbox=True, start_timeout_s=5)
    try:
        async with HostPool(settings) as pool:
            opening = asyncio.create_task(PythonClient.open(pool, app))
            uv = await place.halted.reached()
            shown = await shown_of(pool)
            assert shown.is_preparing
            assert shown.worker
            async with await PythonClient.open(pool, plain) as client:
                assert await printed(client, "print(1)") == "1\n"
            opening.cancel()
            await until_async(lambda: has_ended(uv))
            opening = asyncio.create_task(PythonClient.open(pool, app))
            uv = await place.halted.reached()
        with pytest.raises(Exception, match="closed"):
            await opening
        until(lambda: has_ended(uv))
    finally:
        (place.shared / "halt").unlink()
    async with (
        HostPool(settings) as pool,  # what was begun is in nobody's way
        await PythonClient.open(pool, app) as client,
    ):
        assert (await printed(client, ABOUT)).startswith("1.0 ")


async def test_what_uv_says_of_a_failure_names_the_worker_and_is_tried_again(
    pool: HostPool, place: Place
) -> None:
    app = write_app(place.shared / "wants_late.py", 'dependencies = ["late"]')
    for _ in range(6):  # more often than an app may die
        error, worker = await refused(pool, app)
        assert error.what.startswith(f"the worker {worker}: uv could not make the environment")
        assert "late was not found" in error.what
    write_wheel(place.shared / "wheels", "late", "1.0")
    async with await PythonClient.open(pool, app) as client:
        assert await printed(client, "import late; print(late.VERSION)") == "1.0\n"


async def test_a_header_that_cannot_be_read_is_named_with_its_line_and_the_worker(
    pool: HostPool, place: Place
) -> None:
    app = write_app(place.shared / "spoilt.py", "dependencies = [")
    error, worker = await refused(pool, app)
    assert error.what.startswith(f"the worker {worker}: {app}, line ")
    assert "the header is not TOML" in error.what


async def test_a_worker_without_uv_is_named_with_the_remedy(pool: HostPool, place: Place) -> None:
    uvs = [str(Path(sys.executable).with_name("uv")), str(place.shared / "uv" / "logging")]
    for uv in uvs:
        on_machine(place.cluster, "mount", "--bind", "/dev/null", uv)
    try:
        app = write_app(place.shared / "without.py", 'dependencies = ["tiny>1.5"]')
        error, worker = await refused(pool, app)
        assert error.what == (
            f"the worker {worker}: the app has a header that names its packages, and uv, which"
            " makes environments, is missing"
        )
        assert "mpkernel[sandbox]" in error.remedy
    finally:
        for uv in uvs:
            on_machine(place.cluster, "umount", uv)


async def test_a_folder_that_is_sent_there_has_its_header_read_there(
    place: Place, tmp_path: Path
) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny==1.0"]')
    settings = Settings(cluster=place.cluster.address, sandbox=True, cluster_upload=True)
    async with HostPool(settings) as pool, await PythonClient.open(pool, app) as client:
        assert (await printed(client, ABOUT)).startswith(f"1.0 {STORE}")


def test_environments_that_nobody_uses_can_be_pruned_there(place: Place) -> None:
    """The processes of the tests before have ended, and with them their locks."""
    program = (
        "from pathlib import Path; from mpkernel.sandboxes import Store;"
        f" store = Store(Path({STORE!r}));"
        " print([one.is_used for one in store.kept()].count(True), len(store.kept()) > 0)"
    )
    until(lambda: there(place.cluster, program) == "0 True")
