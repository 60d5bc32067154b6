"""Workers that do not have what the server has: they are left out, and `mpkernel doctor` names
them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from dask_backend.clusters import a_cluster
from distributed import Client
from server.obedient import FILES, obeying_in
from waiting import PATIENCE_S

from mpkernel import HostPool, Settings
from mpkernel.cli.doctor import run
from mpkernel.dask_backend import lease
from mpkernel.dask_backend.launcher import DaskLauncher
from mpkernel.errors import ClusterError, MPKernelError
from mpkernel.server.launching.process import ProcessToLaunch


class Workers(NamedTuple):
    """A cluster of two workers.

    Attributes:
        client: of the cluster.
        good: the address of the one that has what the server has.
        misfit: that of the other.
    """

    client: Client
    good: str
    misfit: str


def has_another_version() -> None:
    """Have this worker say that it has another version of msgspec."""
    has = lease.versions() | {"msgspec": "0.0.7"}
    lease.versions = lambda: has


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with a_cluster(2) as client:
        good, misfit = client.scheduler_info()["workers"]
        client.run(has_another_version, workers=[misfit])
        yield Workers(client, good, misfit)


def test_doctor_names_the_worker_that_does_not_fit(
    workers: Workers, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--cluster", workers.client.scheduler.address, "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["level"] == "FAIL"
    [encryption, cluster, *lines] = told["lines"]
    assert encryption["level"] == cluster["level"] == "OK"
    of_good = [line for line in lines if workers.good in line["says"]]
    assert {line["level"] for line in of_good} == {"OK"}
    assert any("answered after" in line["says"] for line in of_good)
    [misfit] = [line for line in lines if workers.misfit in line["says"]]
    assert misfit["level"] == "FAIL"
    assert "msgspec 0.0.7 (the server has" in misfit["says"]
    assert misfit["remedy"]


async def test_apps_land_on_the_worker_that_fits(
    workers: Workers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "files.py"
    other.write_text(FILES.read_text())
    pids = await asyncio.to_thread(workers.client.run, os.getpid)
    async with HostPool(launcher=DaskLauncher(workers.client)) as pool:
        # The scheduler gives the second app to the worker that has none.
        for app in (FILES, other):
            told = await obeying_in(pool)(app)
            host = psutil.Process(await told.do("import os; result = os.getpid()"))
            assert pids[workers.good] in [one.pid for one in host.parents()]
    assert f"the worker {workers.misfit} cannot run the server's apps" in caplog.text


async def test_without_a_worker_that_fits_the_error_says_what_the_last_one_has(
    workers: Workers,
) -> None:
    launcher = DaskLauncher(workers.client, workers=[workers.misfit])
    async with HostPool(launcher=launcher) as pool:
        with pytest.raises(MPKernelError, match=r"msgspec 0\.0\.7") as raised:
            await obeying_in(pool)()
    assert workers.misfit in str(raised.value)


async def test_however_often_no_worker_fits_each_try_has_the_same_error(workers: Workers) -> None:
    launcher = DaskLauncher(workers.client, workers=[workers.misfit])
    async with HostPool(Settings(restart_limit=1), launcher=launcher) as pool:
        for _ in range(4):
            with pytest.raises(ClusterError, match=r"msgspec 0\.0\.7"):
                await obeying_in(pool)()
        [app] = pool.apps
        assert not app.is_failed


@pytest.mark.parametrize(
    ("value", "says"),
    [
        pytest.param("x" * 10_000_000, "too many environment variables", id="too long"),
        pytest.param("\N{EURO SIGN}" * 22_000, "too many environment variables", id="in UTF-8"),
        pytest.param(os.fsdecode(b"\xff"), r"'\\udcff' is not UTF-8", id="no UTF-8"),
    ],
)
async def test_an_order_that_cannot_be_sent_is_refused_at_once(
    workers: Workers, value: str, says: str
) -> None:
    with pytest.raises(ClusterError, match=says):
        DaskLauncher(workers.client).launch(ProcessToLaunch("app.py", env={"NAME": value}))


def test_doctor_ends_its_processes_before_their_workers() -> None:
    asked = [sys.executable, "-m", "mpkernel", "doctor", "--cluster", "local:2"]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (told.returncode, "outpost" in told.stderr) == (0, False)
