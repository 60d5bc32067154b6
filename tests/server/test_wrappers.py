"""`launch_wrapper`: a command in front of the interpreter. Hosts behind one work in full, also with
pid, mount and network namespaces of their own. The recipes of `docs/security.md` are tested, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import psutil
import pytest
from descendants import has_ended
from pythons import OWN, make_environment
from server.conversing_server import interrupted, said, told
from server.obedient import FILES, bytes_of, obeying_in
from waiting import PATIENCE_S

from mpkernel import HostPool, PythonClient, Restarted, Settings
from mpkernel.errors import HostStartError, MPKernelError, SettingsError, UnfitPython
from mpkernel.server.operations.crashes import kept_reports, read_report
from mpkernel.server.operations.observing import Rates, snapshot_of
from shm import sweep
from shm.names import tag_of

pytestmark = pytest.mark.usefixtures("own_folders")

ROOT = Path(__file__).resolve().parents[2]
BWRAP = (
    "bwrap --unshare-pid --unshare-ipc --unshare-net --unshare-uts --new-session"
    " --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp"
) + "".join(f" --ro-bind {path} {path}" for path in (sys.base_prefix, sys.prefix, ROOT))
"""With an empty `/tmp`, but for Python and its packages, should they be there."""
STAYS = """sh -c '"$@"; exit $?' sh"""
PROCESSOR = min(os.sched_getaffinity(0))
NO_SYSTEMD = "env DBUS_SESSION_BUS_ADDRESS=unix:path=/nowhere XDG_RUNTIME_DIR=/nowhere"
"""As on a machine where no systemd runs for this user."""
NAMES = ("pid", "mnt", "net")
NAMESPACES = f"import os; print([os.readlink('/proc/self/ns/' + one) for one in {NAMES}])"

WRAPPERS = [
    pytest.param("nice -n 3", id="execs"),
    pytest.param(STAYS, id="stays"),
    pytest.param(BWRAP, id="bwrap"),
]


def seeing(app: Path, wrapper: str) -> str:
    """The wrapper, with the app's folder where it has an empty `/tmp`."""
    return f"{wrapper} --ro-bind {app.parent} {app.parent}" if "bwrap" in wrapper else wrapper


async def restarted(client: PythonClient) -> None:
    while not isinstance(await client.next(), Restarted):
        pass


@pytest.mark.parametrize("wrapper", WRAPPERS)
async def test_a_host_behind_a_wrapper_works_in_full(app: Path, wrapper: str) -> None:
    settings = Settings(launch_wrapper=seeing(app, wrapper), crash_reports=5, watch_interval_s=0.05)
    async with HostPool(settings) as pool:
        client = await PythonClient.open(pool, app)
        host = pool.hosts[0]
        about = "import os, sys; print(os.getpid(), sys.prefix, len(sys.path))"
        pid, prefix, _ = (await said(client, about)).split()
        assert prefix == sys.prefix
        assert (int(pid) == host.pid) == (wrapper == "nice -n 3")
        assert (await said(client, NAMESPACES) != _namespaces()) == ("bwrap" in wrapper)

        assert "KeyboardInterrupt" in await interrupted(client)

        threads = "import threading; e = threading.Event()\n"
        threads += "for _ in range(20): threading.Thread(target=e.wait, daemon=True).start()"
        await said(client, threads)
        while not host.usages or host.usages[-1].threads < 20:
            await asyncio.sleep(0.02)  # the watchdog looks again
        assert host.usages[-1].descriptors is not None
        assert host.usages[-1].rss_bytes > 10_000_000

        starts = "import subprocess; p = subprocess.Popen(['sleep', '700'], start_new_session=True)"
        await said(client, starts)
        started = psutil.Process(host.pid).children(recursive=True)
        assert any(one.name() == "sleep" for one in started)
        await said(client, "x = 5")
        client.execute("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", cell="crash")
        await restarted(client)
        while not all(map(has_ended, started)):
            await asyncio.sleep(0.02)  # they were killed
        death = pool.apps[0].last_death
        assert death is not None
        assert death.reason.value == "crash"
        assert death.faults
        assert await said(client, about) != ""
        os.kill(pool.hosts[0].pid, signal.SIGKILL)  # the wrapper
        await restarted(client)
        assert await said(client, "print(1)") == "1"
        await client.close()
    reports = [one for path in kept_reports() if (one := read_report(path)) is not None]
    assert "crash" in [one.reason for one in reports]


def _namespaces() -> str:
    return str([os.readlink(f"/proc/self/ns/{one}") for one in NAMES])


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("confine", ["off", "strict"])
async def test_virtual_files_come_from_behind_a_wrapper(
    tmp_path: Path, wrapper: str, confine: Literal["off", "strict"]
) -> None:
    app = Path(shutil.copy(FILES, tmp_path / "files.py"))
    settings = Settings(launch_wrapper=seeing(app, wrapper), confine=confine, standby=1)
    before = set(os.listdir("/dev/shm"))
    async with HostPool(settings) as pool:
        assert await pool.standby.wait_ready()
        waiting = pool.standby.pids
        told = await obeying_in(pool)(app)
        assert told.session.pid in waiting
        key = await told.do("f = kernel.files.create(b'x' * 99_999); result = f.key")
        assert bytes_of(pool, key) == b"x" * 99_999
        prefix = tag_of(told.session.pid).prefix
        assert any(name.startswith(prefix) for name in os.listdir("/dev/shm"))
        await pool.hosts[0].close()
        assert not any(name.startswith(prefix) for name in os.listdir("/dev/shm"))
    assert set(os.listdir("/dev/shm")) <= before


async def test_the_folder_of_a_standby_is_gone_when_its_pool_is_closed(app: Path) -> None:
    settings = Settings(launch_wrapper=seeing(app, "nice -n 3"), standby=1)
    async with HostPool(settings) as pool:
        assert await pool.standby.wait_ready()
        [standby] = pool.standby.pids
        [folder] = Path("/dev/shm").glob(f"{tag_of(standby).prefix}*")
        for number in range(10_000):  # to remove them takes longer than to end a process
            (folder / str(number)).touch()
    assert not folder.exists()


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("code", ["pass", "sum(range(10**12))"])
async def test_a_host_behind_a_wrapper_ends_with_its_server(
    app: Path, wrapper: str, code: str
) -> None:
    """Also where a C call holds the interpreter's lock."""
    fifo = app.parent / "fifo"
    os.mkfifo(fifo)
    program = (
        "import asyncio, sys\n"
        "from mpkernel import HostPool, PythonClient, Settings\n"
        "async def main():\n"
        "    async with HostPool(Settings(launch_wrapper=sys.argv[1])) as pool:\n"
        "        client = await PythonClient.open(pool, sys.argv[2])\n"
        "        client.execute(sys.argv[3], cell='cell')\n"
        "        print(pool.hosts[0].pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    wrapped = seeing(app, wrapper)
    telling = f"import os; os.write(os.open({str(fifo)!r}, os.O_WRONLY), b'1')"
    command = [sys.executable, "-c", program, wrapped, str(app), f"{telling}; {code}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        launched = psutil.Process(int(server.stdout.readline()))
        reading = os.open(fifo, os.O_RDONLY)
        os.read(reading, 1)
        os.close(reading)
        processes = [launched, *launched.children(recursive=True)]
        server.kill()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.wait(PATIENCE_S)
        assert has_ended(process)
    sweep()  # as the next server does: this one could not remove the folder of the process


async def test_an_app_behind_bubblewrap_sees_what_the_recipe_shows_it(app: Path) -> None:
    (app.parent / "secret").write_text("")
    recipe = f"{BWRAP} --ro-bind {app} {app}"
    async with HostPool(Settings(launch_wrapper=recipe)) as pool:
        client = await PythonClient.open(pool, app)
        beside = f"import os; print(os.listdir({str(app.parent)!r}))"
        assert await said(client, beside) == "['app.py']"
        others = "print([one for one in os.listdir('/proc') if one.isdecimal()][2:])"
        assert await said(client, others) == "[]"
        assert await said(client, "print(os.listdir('/dev/shm'))") == "[]"
        client.execute("import socket; socket.create_connection(('192.0.2.1', 9), 1)", cell="cell")
        assert "unreachable" in str(await told(client))


@pytest.mark.parametrize(
    ("wrapper", "look", "shown"),
    [
        ("nice -n 10", "os.nice(0)", "10"),
        (f"taskset -c {PROCESSOR}", "os.sched_getaffinity(0)", f"{{{PROCESSOR}}}"),
    ],
)
async def test_every_process_of_an_app_is_started_by_its_wrapper(
    app: Path, wrapper: str, look: str, shown: str
) -> None:
    """Several processes, one of which was a standby, and one that comes after a death. What an
    operator sees of a process names its wrapper."""
    look = f"import os; print({look})"
    settings = Settings(launch_wrapper=wrapper, processes_max=2, sessions_per_process=1, standby=1)
    async with HostPool(settings) as pool:
        pool.standby.start()
        assert await pool.standby.wait_ready()
        waiting = pool.standby.pids
        clients = [await PythonClient.open(pool, app) for _ in range(2)]
        pids = {client.session.pid for client in clients}
        assert len(pids) == 2
        assert pids & set(waiting)
        assert [await said(client, look) for client in clients] == [shown] * 2
        os.kill(clients[0].session.pid, signal.SIGKILL)
        await restarted(clients[0])
        assert await said(clients[0], look) == shown
        (seen,) = (await snapshot_of(pool, Rates())).apps
        assert {host.launch_wrapper for host in seen.hosts} == {wrapper}


async def test_another_python_and_a_wrapper_go_together(app: Path, tmp_path: Path) -> None:
    python = make_environment(OWN, tmp_path / "venv", ("msgspec",))
    async with HostPool(Settings(launch_wrapper=STAYS, python=python)) as pool:
        client = await PythonClient.open(pool, app)
        prefix = str(Path(python).parent.parent)
        assert await said(client, "import sys; print(sys.prefix)") == prefix


async def test_a_standby_of_the_pool_is_not_given_to_an_app_with_another_wrapper(
    app: Path,
) -> None:
    from mpkernel.server.launching.local_launcher import LocalLauncher
    from mpkernel.server.launching.standbys import Standbys

    settings = Settings(standby=1)
    standbys = Standbys(settings, LocalLauncher())
    try:
        standbys.start()
        assert await standbys.wait_ready()
        assert standbys.take(str(app), Settings(launch_wrapper="nice")) is None
        process = standbys.take(str(app), settings)
        assert process is not None
        process.close()
        process.close_console()
    finally:
        await standbys.close()


@pytest.mark.parametrize(
    ("wrapper", "error", "says"),
    [
        ("no-such-wrapper -x", HostStartError, "no-such-wrapper cannot be executed"),
        ("false", UnfitPython, "exit code 1 before it said"),
        ("sh -c 'exit 3'", UnfitPython, "exit code 3 before it said"),
        (f"{NO_SYSTEMD} systemd-run --user --scope", UnfitPython, "exit code 1 before it said"),
    ],
)
async def test_a_wrapper_that_starts_nothing_is_named(
    app: Path, wrapper: str, error: type[MPKernelError], says: str
) -> None:
    before = set(os.listdir("/dev/shm"))
    async with HostPool(Settings(launch_wrapper=wrapper)) as pool:
        with pytest.raises(error, match=says) as caught:
            await PythonClient.open(pool, app)
    assert wrapper in caught.value.what
    assert set(os.listdir("/dev/shm")) <= before


async def test_a_pid_namespace_without_its_proc_is_refused_with_the_remedy(app: Path) -> None:
    wrapper = "bwrap --unshare-pid --bind / /"
    async with HostPool(Settings(launch_wrapper=wrapper)) as pool:
        with pytest.raises(UnfitPython, match="does not see itself in /proc") as caught:
            await PythonClient.open(pool, app)
    assert "bwrap --proc /proc" in caught.value.remedy


@pytest.mark.parametrize("command", ["", "  ", "sh -c 'not closed"])
def test_what_is_no_command_is_no_setting(command: str) -> None:
    with pytest.raises(SettingsError, match="launch_wrapper"):
        Settings(launch_wrapper=command)
