"""marimo's notebooks on a cluster with packages, and Pythons, of the worker's machine."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from dask_backend.apart import python_there, shared_folder
from dask_backend.machines import TEMPORARY, Machines, machines
from e2e.harness import Server, status_says
from e2e.test_sandboxes import FRONT_MATTER, HEADER, IN_MARKDOWN, NOTEBOOK, opened
from e2e.test_sandboxes import shown as value_of
from playwright.async_api import Page, expect
from sandboxes.programs import uv_with_marimo
from sandboxes.wheels import write_wheel

INSTALLING = "The packages of this app are being installed:"


class Place(NamedTuple):
    """A cluster of one worker.

    Attributes:
        cluster: of one worker.
        notebooks: a folder that the worker has, too.
        sent: a notebook that is sent there.
        settings: a file that says so.
        cache: where the worker keeps environments.
    """

    cluster: Machines
    notebooks: Path
    sent: Path
    settings: Path
    cache: Path

    @property
    def env(self) -> dict[str, str]:
        """Variables for a server."""
        return {"MPKERNEL_CLUSTER": self.cluster.address}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with (
        shared_folder() as shared,
        tempfile.TemporaryDirectory(dir=TEMPORARY) as unshared,
        pytest.MonkeyPatch.context() as patch,
    ):
        for version in ("1.0", "2.0"):
            write_wheel(shared / "wheels", "tiny", version)
        notebooks = shared / "notebooks"
        notebooks.mkdir()
        (notebooks / "one.py").write_text(HEADER.format(package="tiny==1.0") + NOTEBOOK)
        (notebooks / "two.md").write_text(FRONT_MATTER.format(package="tiny==2.0") + IN_MARKDOWN)
        (notebooks / "none.py").write_text(NOTEBOOK)
        wrong = HEADER.format(package="tiny==7.0") + NOTEBOOK
        (notebooks / "wrong.py").write_text(wrong)
        sent, settings = Path(unshared, "sent.py"), Path(shared, "settings.toml")
        sent.write_text(HEADER.format(package='tiny>1", "tiny<3') + NOTEBOOK)
        settings.write_text(
            f'[[tool.mpkernel.apps]]\npath = "{unshared}/**"\ncluster_upload = true\n'
        )
        patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
        for name, value in uv_with_marimo().items():
            patch.setenv(name, value)
        patch.setenv("UV_FIND_LINKS", str(shared / "wheels"))
        with machines(1) as cluster:
            patch.undo()  # what the worker has, the server has not
            yield Place(cluster, notebooks, sent, settings, shared / "cache")


async def test_notebooks_have_their_packages_on_the_worker_and_come_back_with_them(
    place: Place,
) -> None:
    async with (
        Server(
            place.notebooks,
            place.sent,
            options=["--sandbox", "--settings", str(place.settings)],
            env=place.env,
        ) as server,
        opened(server, place.notebooks / "one.py") as one,
        opened(server, place.notebooks / "two.md") as two,
        opened(server, place.notebooks / "none.py") as none,
        opened(server, place.sent) as sent,
    ):
        tabs = (one, two, none, sent)
        assert [value_of(tab, "tiny") for tab in tabs] == ["1.0", "2.0", "none", "2.0"]
        # That of the copy's header, which the server's machine has alone.
        assert value_of(sent, "in").startswith(str(place.cache))
        assert len({value_of(tab, "in") for tab in tabs}) == 4
        assert INSTALLING in str(one.received("banner"))
        environment = value_of(one, "in")
        assert environment.startswith(str(place.cache))
        await status_says(f"runs in the environment {environment}")
        died = value_of(one, "pid")
        await one.set_ui("Number", 4)
        await one.wait_for("number 4 pid")
        os.kill(int(died), signal.SIGKILL)
        await one.wait_for(lambda tab: f"pid {died} in" not in tab.text)
        await one.wait_for("number 4 pid")
        assert (value_of(one, "tiny"), value_of(one, "in")) == ("1.0", environment)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_page_says_on_which_worker_its_packages_cannot_be_installed(
    place: Place, page: Page
) -> None:
    banner = page.locator("#mpkernel-banner")
    async with Server(place.notebooks / "wrong.py", options=["--sandbox"], env=place.env) as server:
        await page.goto(server.url, wait_until="commit")
        await expect(banner).to_contain_text("The packages of this app cannot be installed")
        await expect(banner).to_contain_text("the worker tcp://127.0.0.1:")
        await expect(banner).to_contain_text("tiny==7.0")
        await page.goto("about:blank")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_page_says_what_the_python_lacks_that_the_worker_has(
    place: Place, page: Page
) -> None:
    python = python_there(place.cluster, "without-marimo", "msgspec")
    banner = page.locator("#mpkernel-banner")
    async with Server(
        place.notebooks / "none.py", options=["--python", python], env=place.env
    ) as server:
        await page.goto(server.url, wait_until="commit")
        await expect(banner).to_contain_text("This app's Python cannot run it")
        await expect(banner).to_contain_text(f"{python} has no marimo")
        await expect(banner).to_contain_text("the worker tcp://127.0.0.1:")
        await page.goto("about:blank")
