"""The source keeps the import rules, and the checker finds code that breaks them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from check_imports import ROOT, breaches, circles


def test_the_import_rules_hold() -> None:
    assert breaches() == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("shm/blocks.py", "import mpkernel"),
        ("mpkernel/wire/frames.py", "from mpkernel.settings import Settings"),
        ("mpkernel/server/pool.py", "from mpkernel.host import kernels"),
        ("mpkernel/host/main.py", "import mpkernel.server.pool"),
        ("mpkernel/host/main.py", "import asyncio"),
        ("mpkernel/server/pool.py", "import marimo"),
        ("mpkernel/server/pool.py", "from mpkernel.cli import run"),
        ("mpkernel/aio/tasks.py", "import zmq"),
        ("mpkernel/server/hosts/host.py", "from mpkernel.server.apps.app import App"),
        ("mpkernel/server/sessions/base.py", "import mpkernel.server.launching.launch"),
        ("mpkernel/server/operations/operations.py", "from mpkernel.server.pool import HostPool"),
        ("mpkernel/server/another/room.py", "import mpkernel.server.links.pipe_link"),
        ("mpkernel/marimo_backend/server/elements.py", "import mpkernel.marimo_backend.host.warm"),
        ("mpkernel/marimo_backend/server/elements.py", "from mpkernel.host import kernels"),
        ("mpkernel/interrupts/sending.py", "from mpkernel.kernel import context"),
        ("mpkernel/client/python_client.py", "import mpkernel.kernel.code.cells"),
        ("mpkernel/server/pool.py", "import distributed"),
    ],
)
def test_a_breach_is_noticed(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(f"def late():\n    {line}\n")
    assert len(breaches(tmp_path)) == 1


def test_an_import_for_types_alone_closes_a_circle(tmp_path: Path) -> None:
    package = tmp_path / "mpkernel"
    package.mkdir()
    (package / "one.py").write_text("from mpkernel import two\n")
    (package / "two.py").write_text("if TYPE_CHECKING:\n    from mpkernel.one import One\n")
    assert breaches(tmp_path) == [
        "mpkernel.one imports mpkernel.two imports mpkernel.one: no circles"
    ]


def test_each_circle_is_told_once_by_its_shortest_way() -> None:
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert circles(graph) == [["a", "c", "a"], ["b", "c", "a", "b"]]


def test_no_file_of_the_server_has_330_lines() -> None:
    server = ROOT / "mpkernel" / "server"
    counts = {
        str(path.relative_to(server)): len(path.read_text("utf-8").splitlines())
        for path in server.rglob("*.py")
    }
    assert "hosts/host.py" in counts
    assert {name: count for name, count in counts.items() if count >= 330} == {}


def test_mpkernel_status_pays_for_little_of_the_server() -> None:
    load = "import sys, mpkernel.server.operations.finding; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", load], text=True).split()
    assert "asyncio" not in loaded
    assert len([name for name in loaded if name.startswith("mpkernel.server")]) <= 9


def test_commands_and_what_exec_runs_load_msgspec_alone(tmp_path: Path) -> None:
    """Without `typing_extensions`, which takes as long."""
    app = tmp_path / "app.py"
    app.write_text(
        "import sys; print('msgspec' in sys.modules, 'typing_extensions' in sys.modules)"
    )
    ran = f"import sys; from mpkernel.cli.main import main; main(['exec', {str(app)!r}])"
    for program in (f"{ran}; {app.read_text()}", ran):
        said = subprocess.check_output([sys.executable, "-c", program], text=True).splitlines()
        assert set(said) == {"True False"}


def test_the_servers_half_of_marimos_backend_loads_nothing_of_a_host() -> None:
    load = (
        "import importlib, pkgutil, sys\n"
        "import mpkernel.marimo_backend.server as half\n"
        "for found in pkgutil.walk_packages(half.__path__, f'{half.__name__}.'):\n"
        "    importlib.import_module(found.name)\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", load], text=True).split()
    assert "mpkernel.marimo_backend.server.app_host" in loaded
    hosts = ("mpkernel.host", "mpkernel.marimo_backend.host")
    assert [
        name for name in loaded if f"{name}.".startswith(tuple(f"{one}." for one in hosts))
    ] == []
