"""What a hostile app can do to the machine of a worker: with each `confine`, the same as on the
server's machine. Its victims are files there, and the outpost that has started its process."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from confinement.hostile import ATTEMPTS
from confinement.hostile.targets import Targets
from confinement.test_confined_apps import ALWAYS, NOT_WITH_STRICT, UNSURE
from dask_backend.apart import there
from dask_backend.machines import TEMPORARY, Machines, machines

from mpkernel import HostPool, KernelSpec, Settings
from mpkernel.confinement.landlock import version

Level = Literal["off", "files", "strict"]

HOSTILE = Path(__file__).parents[1] / "confinement" / "hostile"

pytestmark = pytest.mark.skipif(version() < 6, reason="this kernel cannot confine an app wholly")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with machines(1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def targets(cluster: Machines) -> Iterator[Targets]:
    """All but the ports are on the worker's machine."""
    folder = Path(TEMPORARY, "of_user")
    seen_here(cluster, folder).mkdir()
    block = there(
        cluster,
        "import os; name = f'of-another-app-{os.getpid()}'\n"
        "open(f'/dev/shm/{name}', 'w').write('secret'); print(name)",
    )
    with ExitStack() as stack:

        def listening(family: int, address: Any) -> Any:
            one = stack.enter_context(socket.socket(family))
            one.bind(address)
            one.listen(64)
            return one.getsockname()

        listening(socket.AF_UNIX, str(seen_here(cluster, folder / "socket")))
        listening(socket.AF_UNIX, f"\0mpkernel-there-{os.getpid()}")
        yield Targets(
            server=0,
            mounts=there(cluster, "import os; print(os.readlink('/proc/self/ns/mnt'))"),
            secret=str(folder / "secret"),
            folder=str(folder),
            path_socket=str(folder / "socket"),
            abstract_socket=f"mpkernel-there-{os.getpid()}",
            tcp_port=listening(socket.AF_INET, ("127.0.0.1", 0))[1],
            allowed_port=listening(socket.AF_INET, ("127.0.0.1", 0))[1],
            block=block,
        )


def seen_here(cluster: Machines, path: Path) -> Path:
    """The path under which this process finds a file of the worker's machine."""
    return Path(f"/proc/{cluster.nannies[0].pid}/root{path}")


async def tried(
    cluster: Machines, app: Path, targets: Targets, confine: Level, **others: Any
) -> dict[str, Any]:
    """What each attempt of an app came to."""
    seen_here(cluster, Path(targets["secret"])).write_text("secret")
    ports = (targets["allowed_port"],)
    settings = Settings(cluster=cluster.address, confine=confine, confine_connect=ports, **others)
    async with HostPool(settings) as pool:
        kernel = KernelSpec(entry="hostile:main", args=json.dumps(targets).encode())
        session = await pool.open_session(app, kernel=kernel)
        found: dict[str, Any] = json.loads((await anext(session)).payload)["found"]
    return found


def app_in(folder: Path) -> Path:
    """An app whose folder has the package with the attempts; its kernel is there."""
    folder.mkdir()
    shutil.copytree(HOSTILE, folder / "hostile")
    app = folder / "app.py"
    app.write_text("")
    return app


@pytest.fixture(scope="module")
def outcomes(cluster: Machines, shared: Path, targets: Targets) -> dict[str, dict[str, Any]]:
    """What each attempt came to, by how the app was confined."""
    app = app_in(shared / "app")
    return {level: asyncio.run(tried(cluster, app, targets, level)) for level in get_args(Level)}


def done(found: dict[str, str]) -> set[str]:
    return {name for name in ATTEMPTS if found[name] == "done"}


def test_the_victims_are_within_reach_of_an_app_that_is_not_confined(
    outcomes: dict[str, dict[str, Any]],
) -> None:
    assert ATTEMPTS.keys() - done(outcomes["off"]) <= UNSURE


@pytest.mark.parametrize("level", ["files", "strict"])
def test_a_hostile_app_can_do_what_it_can_on_the_servers_machine(
    level: str, outcomes: dict[str, dict[str, Any]]
) -> None:
    found = outcomes[level]
    assert done(found) == (ALWAYS | NOT_WITH_STRICT if level == "files" else ALWAYS)
    for others in found["by others"].values():
        assert ALWAYS <= done(others) <= done(found)


async def test_a_hostile_app_that_was_sent_there_can_do_no_more(
    cluster: Machines, targets: Targets, tmp_path: Path
) -> None:
    found = await tried(cluster, app_in(tmp_path / "app"), targets, "strict", cluster_upload=True)
    assert done(found) == ALWAYS
