"""What a cell finds around it: what it finds under marimo alone, but for what is meant to differ.

The same notebooks are run under both, and each writes a report (`notebooks/surroundings.py`).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from e2e.harness import NOTEBOOKS, Server, Tab
from waiting import PATIENCE_S

MARIMO = (sys.executable, "-m", "marimo", "run")
OURS = (sys.executable, "-m", "mpkernel", "run")

# What a server inherits that is unlike the defaults.
_SCRIPT = 'umask 027; ulimit -c 0; ulimit -S -n 1000; trap "" USR1; exec "$@"'
STARTED_BY = ("sh", "-c", _SCRIPT, "sh")
ENVIRONMENT = {
    "PYTHONPATH": "/nowhere/on/the/path",
    "PYTHONWARNINGS": "ignore::ImportWarning",
    "PYTHONHASHSEED": "7",
    "OF_THE_SERVER": "näme",
    "TZ": "Asia/Kathmandu",
}
ARGUMENTS = ("--", "--colour", "grün", "-v")

MEANT = {
    "faulthandler": "a crash's traceback goes into the report of the death",
    "flags.safe_path": "files of the working directory are not imported by the launch itself (-P)",
    "hooks": "an interrupt that lands in a finalizer is not lost",
    "signals.SIGINT": "Ctrl-C is the server's; subprocesses find the default",
    "signals.SIGTERM": "marimo runs cells in its server, which handles SIGTERM; a process of an app"
    " has the default",
    "standard descriptors": "1 and 2 are pipes, whose lines the server prints with the app's name",
}

MEANT_BESIDE_PROCESSES = MEANT | {
    "process group": "what an app started can be ended with it",
    "session": "the same",
    "descriptors": "marimo's process reads its arguments from 0",
    "loop": "whichever loop marimo's kernel runs on",
    "sys.path": "marimo's process is a module that is run (-m): the working directory comes first",
    "main": "the same: `__main__` outside of cells is that module",
    "child": "SIGINT: marimo ignores it in its processes, and all that they start does",
}


def make_project(root: Path) -> Path:
    """Notebooks in every kind of folder, each with a module of one name beside it."""
    project = root / "project"
    notebooks = (
        "plain.py",
        "package/inside.py",
        "real/one.py",
        "elsewhere/target.py",
        "nötebooks ü/né 漢字.py",
    )
    for name in notebooks:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(NOTEBOOKS / "surroundings.py", path)
        (path.parent / "helper.py").write_text("")
    (project / "lib").mkdir()
    for module in ("lib/helper.py", "lib/only_lib.py", "package/__init__.py"):
        (project / module).write_text("")
    (project / "linked").symlink_to(project / "real")
    (project / "link.py").symlink_to(project / "elsewhere" / "target.py")
    (project / ".env").write_text("FROM_DOTENV=yes\nTZ=Europe/Berlin\n")
    (project / "pyproject.toml").write_text(
        '[tool.marimo.runtime]\npythonpath = ["lib"]\ndotenv = [".env"]\n'
        "[tool.marimo.experimental]\nisolate_apps = true\n"
    )
    (root / "started in").mkdir()
    (root / "started in" / "in_cwd.py").write_text("")
    (root / "reports").mkdir()
    return project


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("surroundings")
    make_project(root)
    return root


async def reports(
    root: Path,
    served: Path,
    program: tuple[str, ...],
    *,
    cwd: Path,
    names: tuple[str | None, ...] = (None,),
    **env: str,
) -> list[dict[str, Any]]:
    """What each of these notebooks reports, from one server."""
    found = []
    env |= ENVIRONMENT | {"REPORTS": str(root / "reports")}
    server = Server(
        served,
        *ARGUMENTS,
        program=(*STARTED_BY, *program),
        env=env,
        cwd=cwd,
        health="/health",
        standby=True,
    )
    async with server:
        for number, name in enumerate(names):
            report = f"{server.port}-{number}"
            async with Tab(server.url, name, query={"report": report}) as tab:
                await tab.wait_for("report written")
            found.append(json.loads((root / "reports" / report).read_text()))
    return found


def differences(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], within: str = ""
) -> Iterator[tuple[str, object, object]]:
    for name in sorted({*theirs, *ours}):
        one, other = theirs.get(name), ours.get(name)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            yield from differences(one, other, f"{within}{name}.")
        else:
            yield within + name, one, other


def unmeant(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], meant: Mapping[str, str]
) -> list[tuple[str, object, object]]:
    return [
        difference
        for difference in differences(theirs, ours)
        if not any(f"{difference[0]}.".startswith(f"{name}.") for name in meant)
    ]


@pytest.mark.parametrize(
    ("notebook", "started_in", "helper"),
    [
        # The working directory is on the path already: marimo puts its `pythonpath` before it.
        ("plain.py", "project", "lib"),
        ("package/inside.py", "started in", "package"),
        ("linked/one.py", "started in", "linked"),
        ("link.py", "project/elsewhere", "."),
        ("nötebooks ü/né 漢字.py", "started in", "nötebooks ü"),
    ],
)
async def test_a_cell_finds_what_it_finds_under_marimo_alone(
    root: Path, notebook: str, started_in: str, helper: str
) -> None:
    path, cwd = root / "project" / notebook, root / started_in
    [theirs], [ours] = await asyncio.gather(
        reports(root, path, MARIMO, cwd=cwd, MPKERNEL_DISABLE="1"),
        reports(root, path, OURS, cwd=cwd),
    )
    assert not unmeant(theirs, ours, MEANT)
    # As a whole, should both be wrong.
    assert ours["environ"]["FROM_DOTENV"] == "yes"
    assert ours["environ"]["OF_THE_SERVER"] == "näme"
    assert ours["sys.argv"][1:] == list(ARGUMENTS[1:])
    assert ours["helper"] == str(root / "project" / helper / "helper.py")
    assert ours["only_lib"] == str(root / "project/lib/only_lib.py")
    assert ours["main"]["file"] == str(path)
    assert ours["cwd"] == str(cwd)
    assert ours["umask"] == ["Umask:\t0027\n"]
    assert ours["limits"]["RLIMIT_CORE"][0] == 0


async def test_it_finds_what_it_finds_in_a_process_of_marimos(root: Path) -> None:
    """The case in which marimo alone has a process for each notebook, too."""
    served, cwd = root / "project", root / "started in"
    names = ("plain.py", "package/inside.py", "nötebooks ü/né 漢字.py")
    ran = await asyncio.gather(
        reports(root, served, MARIMO, cwd=cwd, names=names, MPKERNEL_DISABLE="1"),
        reports(root, served, MARIMO, cwd=cwd, names=names),
    )
    for name, theirs, ours in zip(names, *ran, strict=True):
        assert not unmeant(theirs, ours, MEANT_BESIDE_PROCESSES)
        assert ours["helper"] == theirs["helper"] == str((served / name).parent / "helper.py")
        assert ours["sys.path"][:2] == theirs["sys.path"][:2]


@pytest.mark.parametrize("standby", ["0", "1"])
async def test_what_lies_beside_a_notebook_is_not_taken_for_a_part_of_marimo(
    root: Path, tmp_path: Path, standby: str
) -> None:
    shutil.copy(NOTEBOOKS / "slider.py", tmp_path / "app.py")
    for name in ("markdown", "queue", "narwhals", "mpkernel", "msgspec"):
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} beside the notebook')")
    async with (
        Server(tmp_path / "app.py", program=OURS, env={"MPKERNEL_STANDBY": standby}) as server,
        Tab(server.url) as tab,
    ):
        await tab.wait_for("number 1 squared is 1")


async def test_a_module_of_the_pythonpath_comes_before_what_a_standby_has_imported(
    root: Path, tmp_path: Path
) -> None:
    imported = tmp_path / "imported"
    (tmp_path / "only_lib.py").write_text(f"open({str(imported)!r}, 'w').close()")
    env = {
        "PYTHONPATH": str(tmp_path),
        "MPKERNEL_STANDBY_IMPORTS": "only_lib",
        "REPORTS": str(root / "reports"),
    }
    async with Server(root / "project" / "plain.py", program=OURS, env=env, standby=True) as server:
        async with asyncio.timeout(PATIENCE_S):
            while not imported.exists():
                await asyncio.sleep(0.01)
        async with Tab(server.url, query={"report": "standby"}) as tab:
            await tab.wait_for("report written")
    report = json.loads((root / "reports" / "standby").read_text())
    assert report["only_lib"] == str(root / "project/lib/only_lib.py")
