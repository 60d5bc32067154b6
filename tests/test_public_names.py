"""What `import mpkernel` offers: every public name; and that it loads none of them before it is
used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

import mpkernel
from mpkernel import HostPool, KernelSpec, errors

if TYPE_CHECKING:
    from mpkernel.host.hosted_kernel import HostedKernel
    from mpkernel.server.sessions.queued import QueuedSession

SHOWN = {
    "AppRule": "applied changes matches path",
    "Death": "app faults last_lines pid pid_on_worker python reason report what worker",
    "HostPool": "app apps close close_soon closed drain forgotten hosts kill open_session"
    " settings_of start",
    "Journal": "count_all_as_begun has_room kept load notice progressed rebuild received"
    " running sent",
    "Kernel": "app args files interruptible_by number progressed receive send session_id stopped",
    "KernelSpec": "args argv entry env executable left_out requirements sandbox",
    "Message": "channel payload",
    "PythonClient": "answer close complete execute interrupt next open run_app set_values",
    "Rebuilt": "commands kernel lost messages",
    "Session": "app close host over pid send session_id stop traffic",
}
"""What a class that users hold, or derive theirs from, shows them."""


NEEDING_AN_EXTRA = {
    "DaskLauncher": "Dask (pip install 'mpkernel[dask]')",
    "create_asgi_app": "marimo (pip install 'mpkernel[marimo]')",
}


def test_every_public_name_is_there() -> None:
    for name in dir(mpkernel):
        assert getattr(mpkernel, name) is not None
    assert set(dir(mpkernel)) == {*mpkernel.__all__, *NEEDING_AN_EXTRA}


def without_extras(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a Python that finds no package of the extras."""
    for package in ("dask", "distributed", "marimo", "starlette"):
        missing = f"raise ModuleNotFoundError('No module named {package}', name='{package}')\n"
        (folder / f"{package}.py").write_text(missing)
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", NEEDING_AN_EXTRA)
def test_what_needs_an_extra_says_how_to_install_it(name: str, tmp_path: Path) -> None:
    ended = without_extras(f"from mpkernel import {name}", tmp_path)
    assert f"ImportError: mpkernel.{name} needs {NEEDING_AN_EXTRA[name]}" in ended.stderr


def test_all_names_but_those_can_be_imported_at_once_without_extras(tmp_path: Path) -> None:
    ended = without_extras("from mpkernel import *; print(HostPool.__name__)", tmp_path)
    assert (ended.stdout, ended.stderr) == ("HostPool\n", "")


@pytest.mark.parametrize("name", SHOWN)
def test_a_class_shows_its_users_names_only(name: str) -> None:
    shown = getattr(mpkernel, name)
    of_tuples = set(dir(tuple)) if issubclass(shown, tuple) else set()
    names = {each for each in dir(shown) if not each.startswith("_")} - of_tuples
    assert names == set(SHOWN[name].split())


def test_the_halves_of_a_session_that_are_its_apps_and_hosts_are_its_own_matter() -> None:
    session = mpkernel.Session(cast("QueuedSession", None))
    assert [each for each in vars(session) if not each.startswith("_")] == []


def test_the_half_of_a_kernel_that_is_its_hosts_is_its_own_matter() -> None:
    kernel = mpkernel.Kernel(cast("HostedKernel", None))
    assert [each for each in vars(kernel) if not each.startswith("_")] == []


async def test_an_entry_is_given_this_class_and_none_derived_from_it(tmp_path: Path) -> None:
    app = tmp_path / "names.py"
    app.write_text("def main(kernel):\n    kernel.send(repr(type(kernel)).encode())\n")
    async with HostPool() as pool:
        session = await pool.open_session(app, kernel=KernelSpec(entry="names:main"))
        assert (await anext(session)).payload.decode() == repr(mpkernel.Kernel)


def test_only_what_is_used_is_loaded() -> None:
    """Each app's process imports the package, so its import must be cheap."""
    code = (
        "import sys, mpkernel; mpkernel.Channel;"
        " print(*(name for name in sys.modules if name.startswith('mpkernel.')))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert set(loaded.split()) == {
        "mpkernel.errors",
        "mpkernel.plain_text",
        "mpkernel.wire",
        "mpkernel.wire.frames",
    }


def test_every_exception_is_among_the_errors() -> None:
    found = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.MPKernelError)
    }
    assert set(errors.__all__) == found


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    assert not hasattr(mpkernel, "Nothing")


def test_journals_are_found_where_version_0_1_had_them() -> None:
    from mpkernel.server import journal

    assert (journal.Journal, journal.Rebuilt) == (mpkernel.Journal, mpkernel.Rebuilt)
