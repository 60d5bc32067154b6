"""A process on a worker's machine is all that the server relies on, see `process_contract`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dask_backend.clusters import a_cluster
from distributed import Client
from server.process_contract import ProcessContract, Write

from mpkernel.dask_backend.launcher import DaskLauncher


@pytest.fixture(scope="module")
def importable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which the workers import."""
    return tmp_path_factory.mktemp("importable")


@pytest.fixture(scope="module")
def client(importable: Path) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(importable)
        with a_cluster(1) as client:
            yield client


class TestFarProcess(ProcessContract):
    @pytest.fixture
    def launcher(self, client: Client) -> DaskLauncher:
        return DaskLauncher(client)

    @pytest.fixture
    def write(self, importable: Path) -> Write:
        def write(name: str, code: str) -> None:
            (importable / f"{name}.py").write_text(code)

        return write
