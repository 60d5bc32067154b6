"""Apps in other Pythons than their server's: each pair of two, what is refused and why, and
wrappers in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from descendants import has_ended
from pythons import OTHERS, OWN, make_environment, name_of
from sandboxes.wheels import write_app
from server.conversing_server import ABOUT, restarted, said
from waiting import PATIENCE_S

from mpkernel import HostPool, KernelSpec, PythonClient, Settings
from mpkernel.errors import HostStartError, SettingsError, UnfitPython

pytestmark = pytest.mark.usefixtures("own_folders")

SERVER = Path(__file__).with_name("conversing_server.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment of each Python, with all that a server needs."""
    folder = tmp_path_factory.mktemp("pythons")
    return {
        python: make_environment(python, folder / str(number), ("msgspec", "psutil"))
        for number, python in enumerate([OWN, *OTHERS])
    }


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment of the tests' own Python with msgspec alone, and a module that only it has."""
    python = make_environment(OWN, tmp_path_factory.mktemp("bare") / "venv", ("msgspec",))
    (site,) = Path(python).parent.parent.glob("lib/python*/site-packages")
    (site / "only_there.py").write_text("VALUE = 'only there'\n")
    return python


def script(path: Path, *lines: str) -> str:
    """A program of the shell; its path."""
    path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
    path.chmod(0o755)
    return str(path)


def wrapper(folder: Path, python: str, before: str = "") -> str:
    """A program that starts this Python, or with `before="exec "` becomes it."""
    return script(folder / "wrapper", f'{before}{python} "$@"', *[] if before else ["exit $?"])


async def refused(app: Path, python: str, *requirements: str) -> UnfitPython:
    """How a Python is refused; the next client is told the same, again and again."""
    async with HostPool(Settings(python=python)) as pool:
        kernel = KernelSpec(entry="kernels:echo", requirements=requirements)
        for _ in range(7):  # more often than an app may die
            with pytest.raises(UnfitPython) as caught:
                await pool.open_session(app, kernel=kernel)
    return caught.value


@pytest.mark.parametrize("server", [OWN, *OTHERS], ids=name_of)
def test_a_server_of_each_python_talks_to_hosts_of_each(
    server: str, environments: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [environments[server], str(SERVER), str(tmp_path), *environments.values()],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(environments)
    for python, found in zip(environments.values(), lines, strict=True):
        prefix = str(Path(python).parent.parent)
        version = next(iter(Path(prefix).glob("lib/python*"))).name.removeprefix("python")
        assert found["about"] == f"{version} {prefix}"
        assert "KeyboardInterrupt" in found["interrupt"]
        assert found["again"] is True
        assert found["file"] == 99_999
        assert found["report"] == ["crash", python, True]


async def test_an_app_has_the_packages_of_its_python_and_none_of_the_servers(
    app: Path, bare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/of/the/server")
    monkeypatch.setenv("VIRTUAL_ENV", "/of/the/server")
    code = (
        "import importlib.util as util, os, sys, only_there; print(only_there.VALUE, [name for name"
        " in ('pytest', 'psutil', 'marimo', 'msgspec', 'mpkernel', 'shm') if util.find_spec(name)],"
        " [name for name in os.environ if name.startswith('PYTHON')],"
        " os.environ['VIRTUAL_ENV'] == sys.prefix, '/of/the/server' in sys.path)"
    )
    async with HostPool(Settings(python=str(Path(bare).parent.parent))) as pool:  # the folder
        client = await PythonClient.open(pool, app)
        assert await said(client, code) == (
            "only there ['msgspec', 'mpkernel', 'shm'] [] True False"
        )


async def test_an_mpkernel_that_is_installed_there_is_not_the_one_that_runs(
    app: Path, tmp_path: Path
) -> None:
    python = make_environment(OWN, tmp_path / "venv", ("msgspec",))
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    for name in ("mpkernel", "shm"):
        (site / name).mkdir()
        (site / name / "__init__.py").write_text("raise ImportError('an old one')\n")
    async with HostPool(Settings(python=python)) as pool:
        client = await PythonClient.open(pool, app)
        assert await said(client, "print(1)") == "1"


async def test_the_folder_of_mpkernels_own_packages_may_be_read_by_others_but_not_written(
    app: Path, bare: str
) -> None:
    async with HostPool(Settings(python=bare)) as pool:
        await (await PythonClient.open(pool, app)).close()
    [folder] = Path(os.environ["XDG_CACHE_HOME"]).glob("mpkernel/packages/*")
    assert {one.name for one in folder.iterdir()} == {"mpkernel", "shm"}
    folder.chmod(0o755)  # as somebody does who opens all of a cache
    async with HostPool(Settings(python=bare)) as pool:
        assert await said(await PythonClient.open(pool, app), "print(1)") == "1"
    folder.chmod(0o775)
    async with HostPool(Settings(python=bare)) as pool:
        with pytest.raises(HostStartError, match=r"others may write into it \(chmod go-w\)"):
            await PythonClient.open(pool, app)


async def test_what_a_kernel_names_wins_over_the_setting_and_a_header_over_both(
    app: Path, bare: str
) -> None:
    async with HostPool(Settings(python="/nowhere")) as pool:
        (app.parent / "kernels.py").write_text(
            "import sys\ndef prefix(kernel):\n    kernel.send(sys.prefix.encode())\n"
        )
        kernel = KernelSpec(entry="kernels:prefix", executable=bare)
        session = await pool.open_session(app, kernel=kernel)
        assert (await anext(session)).payload.decode() == str(Path(bare).parent.parent)
    sandboxed = write_app(app.parent / "headed.py", "dependencies = 3")
    async with HostPool(Settings(python="/nowhere", sandbox=True)) as pool:
        with pytest.raises(HostStartError, match="dependencies in the header"):
            await PythonClient.open(pool, sandboxed)
        with pytest.raises(UnfitPython, match="there is no Python /nowhere"):
            await PythonClient.open(pool, app)


async def test_the_snapshot_names_the_python(app: Path, bare: str) -> None:
    from mpkernel.server.operations.observing import Rates, snapshot_of

    async with HostPool(Settings(python=bare)) as pool:
        await PythonClient.open(pool, app)
        (host,) = (await snapshot_of(pool, Rates())).apps[0].hosts
        assert host.python == bare


@pytest.mark.parametrize(
    ("found", "says", "remedy"),
    [
        ({}, "the server has tiny 2.0, {python} has no tiny", "install 'tiny==2.0' there"),
        (
            {"tiny": "1.0"},
            "the server has tiny 2.0, {python} has tiny 1.0",
            "install 'tiny==2.0' there",
        ),
        ({"tiny": "2.0", "msgspec": "0.18.6"}, "{python} has msgspec 0.18.6", "'msgspec>=0.19'"),
    ],
)
async def test_packages_that_do_not_fit_are_named_with_both_sides(
    app: Path, tmp_path: Path, found: dict[str, str], says: str, remedy: str
) -> None:
    python = make_environment(OWN, tmp_path / "venv", ("msgspec",))
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    for name, version in found.items():
        for before in site.glob(f"{name}-*.dist-info/METADATA"):
            before.unlink()
        (site / f"{name}-{version}.dist-info").mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (site / f"{name}-{version}.dist-info" / "METADATA").write_text(metadata)
    error = await refused(app, python, "tiny==2.0")
    assert says.format(python=python) in error.what
    assert remedy in error.remedy


async def test_a_python_without_msgspec_is_told_to_get_it(app: Path, tmp_path: Path) -> None:
    python = make_environment(OWN, tmp_path / "venv", ())
    error = await refused(app, python)
    assert error.what == f"{python} has no msgspec that can be imported"
    assert f"{python} -m pip install 'msgspec>=0.19'" in error.remedy


async def test_a_python_that_is_too_old_is_refused(app: Path, tmp_path: Path) -> None:
    """One whose version is changed before the program runs that it was given."""
    change = "import sys; sys.version_info = (3, 10, 1); "
    command = f'{OWN} -c "{change}exec(sys.argv[1])" "$2"'
    python = script(tmp_path / "python", command)
    assert (await refused(app, python)).what == f"{python} is older than Python 3.11"


@pytest.mark.parametrize(
    ("lines", "says"),
    [(["exit 0"], "exit code 0"), (["exit 3"], "exit code 3"), (["nonsense"], "exit code 127")],
)
async def test_a_program_that_is_no_python_is_refused(
    app: Path, tmp_path: Path, lines: Sequence[str], says: str
) -> None:
    program = script(tmp_path / "program", *lines)
    error = await refused(app, program)
    assert program in error.what
    assert says in error.what


async def test_what_cannot_be_executed_is_refused(app: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no program")
    assert f"{text} may not be executed" in (await refused(app, str(text))).what
    text.chmod(stat.S_IRWXU)
    assert f"{text} cannot be executed" in (await refused(app, str(text))).what
    folder = str(tmp_path)
    assert f"{folder} is not a virtual environment" in (await refused(app, folder)).what
    nowhere = str(tmp_path / "nowhere")
    assert f"there is no Python {nowhere}" in (await refused(app, nowhere)).what


def test_an_empty_path_is_no_setting() -> None:
    with pytest.raises(SettingsError, match="python is ''"):
        Settings(python="")
    with pytest.raises(SettingsError, match="executable is ''"):
        KernelSpec(entry="kernels:echo", executable="")


async def test_sessions_of_a_python_that_was_spoilt_are_told_why(app: Path, tmp_path: Path) -> None:
    python = make_environment(OWN, tmp_path / "venv", ("msgspec",))
    async with HostPool(Settings(python=python)) as pool:
        client = await PythonClient.open(pool, app)
        (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
        (site / "msgspec").rename(site / "away")
        os.kill(pool.hosts[0].pid, signal.SIGKILL)
        with pytest.raises(UnfitPython, match="no msgspec"):
            while True:
                await client.next()


@pytest.mark.parametrize("before", ["exec ", ""], ids=["execs", "stays"])
async def test_a_wrapper_may_stand_between(
    app: Path, tmp_path: Path, bare: str, before: str
) -> None:
    async with HostPool(Settings(python=wrapper(tmp_path, bare, before))) as pool:
        client = await PythonClient.open(pool, app)
        code = "import os, sys; print(os.getpid(), sys.prefix)"
        pid, prefix = (await said(client, code)).split()
        assert prefix == str(Path(bare).parent.parent)
        assert (int(pid) == pool.hosts[0].pid) == (before != "")
        os.kill(int(pid), signal.SIGSEGV)  # the host itself
        about = await restarted_after(client)
        assert about.split()[1] == prefix
        assert pool.apps[0].last_death is not None
        assert pool.apps[0].last_death.reason.value == "crash"
        assert await restarted(client) != ""  # and the program that was launched
        await client.close()


async def restarted_after(client: PythonClient) -> str:
    from mpkernel import Restarted

    while not isinstance(await client.next(), Restarted):
        pass
    return await said(client, ABOUT)


async def test_virtual_files_come_from_behind_a_wrapper(tmp_path: Path, bare: str) -> None:
    from server.conversing_server import FILES, file_of

    app = tmp_path / "files.py"
    app.write_text(FILES.read_text())
    before = set(os.listdir("/dev/shm"))
    async with HostPool() as pool:
        assert await file_of(pool, app, wrapper(tmp_path, bare)) == 99_999
        await pool.hosts[0].close()
    assert set(os.listdir("/dev/shm")) <= before


@pytest.mark.parametrize("code", ["pass", "sum(range(10**12))"])
async def test_a_host_behind_a_wrapper_ends_with_its_server(
    app: Path, tmp_path: Path, bare: str, code: str
) -> None:
    """Also where a C call holds the interpreter's lock."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    telling = f"import os; os.write(os.open({str(fifo)!r}, os.O_WRONLY), b'%d' % os.getpid())"
    program = (
        "import asyncio, sys\n"
        "from mpkernel import HostPool, PythonClient, Settings\n"
        "async def main():\n"
        "    async with HostPool(Settings(python=sys.argv[1])) as pool:\n"
        "        client = await PythonClient.open(pool, sys.argv[2])\n"
        "        client.execute(sys.argv[3], cell='cell')\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    python = wrapper(tmp_path, bare)
    command = [sys.executable, "-c", program, python, str(app), f"{telling}; {code}"]
    with subprocess.Popen(command) as server:
        reading = os.open(fifo, os.O_RDONLY)
        host = psutil.Process(int(os.read(reading, 20)))
        os.close(reading)
        shell = host.parent()
        assert shell is not None
        assert shell.parent() == psutil.Process(server.pid)
        server.kill()
    for process in (host, shell):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.wait(PATIENCE_S)
        assert has_ended(process)


async def test_a_wrapper_that_has_nothing_to_do_with_the_host_is_refused(
    app: Path, tmp_path: Path, bare: str
) -> None:
    """It has left the host to others: nobody could watch it or end it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    later = f"""(sh -c 'read line < {fifo}; exec {bare} "$@"' sh "$@" &)"""
    left = script(tmp_path / "left", later, f"echo > {fifo}", "exec sleep 60")
    error = await refused(app, left)
    assert "not among the processes that it has started" in error.what


async def test_a_standby_waits_in_the_python_that_was_used_last(app: Path, bare: str) -> None:
    async with HostPool(Settings(python=bare, standby=1)) as pool:
        client = await PythonClient.open(pool, app)
        assert await pool.standby.wait_ready()
        while not pool.standby.pids:
            await asyncio.sleep(0.05)
        warm = pool.standby.pids
        os.kill(client.session.pid, signal.SIGKILL)
        about = await restarted_after(client)
        assert about.split()[1] == str(Path(bare).parent.parent)
        assert client.session.pid in warm
        await client.close()


def test_exec_runs_an_app_with_another_python(app: Path, bare: str) -> None:
    app.write_text("import only_there, sys\nprint(only_there.VALUE, sys.prefix)\nsys.exit(7)\n")
    command = [sys.executable, "-m", "mpkernel", "exec", "--python", bare, str(app)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.stdout, done.returncode) == (f"only there {Path(bare).parent.parent}\n", 7)


def test_exec_works_behind_a_wrapper(app: Path, tmp_path: Path, bare: str) -> None:
    app.write_text("import only_there\nprint(only_there.VALUE)\n")
    python = f"--python={wrapper(tmp_path, bare)}"
    command = [sys.executable, "-m", "mpkernel", "exec", python, str(app)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("only there\n", "", 0)


def test_exec_says_what_a_python_lacks(app: Path, tmp_path: Path) -> None:
    for python, says in (
        (make_environment(OWN, tmp_path / "venv", ()), "has no msgspec that can be imported"),
        (str(tmp_path / "nowhere"), "there is no Python"),
    ):
        command = [sys.executable, "-m", "mpkernel", "exec", "--python", python, str(app)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert says in done.stderr
        assert "Traceback" not in done.stderr
        assert done.returncode != 0


def test_doctor_tries_the_pythons_that_the_settings_name(tmp_path: Path, bare: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[tool.mpkernel]\npython = "{bare}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "mpkernel", "doctor", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    (line,) = [one for one in json.loads(done.stdout)["lines"] if one["name"] == "other python"]
    assert line["level"] == "FAIL"
    assert f"{bare} has no marimo" in line["says"]
