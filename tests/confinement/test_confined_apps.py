"""What an app can do to its user's files, its server and other apps: not confined, with `files` and
with `strict`; and that it can do all that it needs. `docs/security.md` has the same table."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from confinement.hostile import ATTEMPTS
from confinement.hostile.targets import Targets
from other_user import NOBODY, as_nobody, require_root
from server.obedient import bytes_of, obeying_in

from mpkernel import HostPool, KernelSpec, MPKernelError, PythonClient, Settings
from mpkernel.confinement.confining import missing
from mpkernel.confinement.landlock import version
from shm import BlockNotFound

Level = Literal["off", "files", "strict"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "mpkernel" / "docs" / "security.md"

ALWAYS = {
    "connect by TCP to a port that is allowed",
    "import modules and run programs",
    "use temporary files and a home",
    "use multiprocessing's shared memory",
    "use locks, queues and pools",
    "use those of spawned processes",
}
"""What an app can do however it is confined."""

NOT_WITH_STRICT = {
    "send by UDP",
    "connect by TCP",
    "listen by TCP",
    "use a manager",
    "write a file of 5 GiB",
    "take twice the machine's memory",
}
"""What it can do unless it is confined with `strict`."""

OF_ITS_NAMESPACES = {
    "use System V shared memory",
    "use System V queues",
    "use System V semaphores",
    "use POSIX queues",
    "listen at an abstract socket",
    "have its parent debug it",
    "give its parent a child",
}
WRAPPED = (ALWAYS | NOT_WITH_STRICT | OF_ITS_NAMESPACES) - {
    "connect by TCP",
    "connect by TCP to a port that is allowed",
}
"""What an app can do behind the wrapper of the page; networks and shared memory are its own."""

UNSURE = {
    "dump a core beside it",
    "mount a folder",
    "mount it in a namespace of its own",
    "change its attributes",
    "change the root",
    "open a file of the user by its handle",
    "watch all files",
    "uncover the machine's shared memory",
    "write into its memory by a system call",
    "compare its descriptors",
    "count its events",
    "have the kernel kill the server first",
    "load a program into the kernel",
    "use POSIX queues",
    "open the server's memory",
    "debug the server",
    "read its memory by a system call",
    "copy one of its descriptors",
    "use a keyring",
    "use io_uring",
    "use userfaultfd",
    "advise the kernel on its memory",
    "share a core's secrets with it",
    "take twice the machine's memory",
}
"""What an app that is not confined can do or not, as the system is set."""

pytestmark = pytest.mark.skipif(version() < 6, reason="this kernel cannot confine an app wholly")


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    folder = tmp_path_factory.mktemp("of_user")
    secret = folder / "secret"
    with ExitStack() as stack:
        block = Path(f"/dev/shm/of-another-app-{os.getpid()}")
        block.write_text("secret")
        stack.callback(block.unlink)

        def listening(family: int, address: Any) -> Any:
            one = stack.enter_context(socket.socket(family))
            one.bind(address)
            one.listen(64)
            return one.getsockname()

        secret.write_text("secret")
        listening(socket.AF_UNIX, str(folder / "socket"))
        listening(socket.AF_UNIX, f"\0mpkernel-test-{os.getpid()}")
        yield Targets(
            server=os.getpid(),
            mounts=os.readlink("/proc/self/ns/mnt"),
            secret=str(secret),
            folder=str(folder),
            path_socket=str(folder / "socket"),
            abstract_socket=f"mpkernel-test-{os.getpid()}",
            tcp_port=listening(socket.AF_INET, ("127.0.0.1", 0))[1],
            allowed_port=listening(socket.AF_INET, ("127.0.0.1", 0))[1],
            block=block.name,
        )


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app whose folder has the package with the attempts; its kernel is there."""
    folder = tmp_path_factory.mktemp("app")
    shutil.copytree(HERE / "hostile", folder / "hostile")
    path = folder / "app.py"
    path.write_text("")
    return path


async def tried(app: Path, settings: Settings, targets: Targets) -> dict[str, Any]:
    async with HostPool(settings) as pool:
        if settings.standby:
            assert await pool.standby.wait_ready()
        pids = pool.standby.pids
        kernel = KernelSpec(entry="hostile:main", args=json.dumps(targets).encode())
        session = await pool.open_session(app, kernel=kernel)
        seen: dict[str, Any] = json.loads((await anext(session)).payload)
        assert os.path.isdir(seen["tmp"])
        seen["was standby"] = seen["pid"] in pids
    return seen


def fresh(targets: Targets) -> Targets:
    """The targets, with a secret that no app before has changed."""
    Path(targets["secret"]).write_text("secret")
    return targets


@pytest.fixture(scope="module")
def outcomes(app: Path, targets: Targets) -> dict[str, dict[str, Any]]:
    """What each attempt came to, by how the app was confined."""
    return {
        level: asyncio.run(
            tried(
                app,
                Settings(
                    confine=level,
                    confine_connect=(targets["allowed_port"],),
                    standby=1 if level == "files" else 0,
                    standby_imports=("decimal",),
                ),
                fresh(targets),
            )
        )
        for level in get_args(Level)
    }


def test_an_app_that_is_not_confined_can_do_what_its_user_can(
    outcomes: dict[str, dict[str, Any]],
) -> None:
    outcome = outcomes["off"]["found"]
    failed = {name for name in ATTEMPTS if outcome[name] != "done"}
    assert failed <= UNSURE


@pytest.mark.parametrize("level", ["files", "strict"])
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_hostile_app(
    attempt: str, level: str, outcomes: dict[str, dict[str, Any]], targets: Targets
) -> None:
    outcome = outcomes[level]["found"][attempt]
    can = attempt in ALWAYS or (level == "files" and attempt in NOT_WITH_STRICT)
    assert (outcome == "done") == can, outcome


def test_an_app_behind_the_recipe_with_bubblewrap(app: Path, targets: Targets) -> None:
    """The recipe of the page, which shows the app its own folder and Python, too."""
    (recipe,) = re.findall(r'launch_wrapper = "(bwrap [^"]+)"', PAGE.read_text("utf-8"))
    for shown in (sys.base_prefix, sys.prefix, str(ROOT), str(app.parent)):
        recipe += f" --ro-bind {shown} {shown}"
    found = asyncio.run(tried(app, Settings(launch_wrapper=recipe), fresh(targets)))["found"]
    done = {name for name in ATTEMPTS if found[name] == "done"}
    assert done - UNSURE == WRAPPED - UNSURE


@pytest.mark.parametrize("who", ["thread", "fork", "exec"])
@pytest.mark.parametrize("level", ["files", "strict"])
def test_what_an_app_starts_can_do_no_more(
    level: str, who: str, outcomes: dict[str, dict[str, Any]]
) -> None:
    def done(found: dict[str, Any]) -> set[str]:
        return {name for name in ATTEMPTS if found[name] == "done"}

    found = outcomes[level]["found"]
    assert ALWAYS <= done(found["by others"][who]) <= done(found)


def test_a_standby_without_threads_is_confined_when_an_app_gets_it(
    outcomes: dict[str, dict[str, Any]],
) -> None:
    assert outcomes["files"]["was standby"]


def test_the_folders_of_a_confined_process_are_its_own_and_go_with_it(
    outcomes: dict[str, dict[str, Any]],
) -> None:
    files, strict = outcomes["files"], outcomes["strict"]
    assert files["tmp"].startswith(files["home"])
    assert files["home"] != strict["home"]
    assert not os.path.exists(files["home"])
    assert not os.path.exists(strict["home"])


@pytest.mark.parametrize("level", ["files", "strict"])
def test_what_a_user_without_privileges_confines_is_as_confined(
    level: str, targets: Targets, tmp_path: Path
) -> None:
    require_root()
    writable = tmp_path / "writable"
    writable.mkdir()
    os.chown(writable, NOBODY, NOBODY)
    ways = (Path(targets["folder"]), writable)
    opened = [str(one) for way in ways for one in way.parents if "pytest" in str(one)]
    imports = f"""
import ctypes, json, os, sys, tempfile
sys.path.insert(0, {str(HERE.parent)!r})
from confinement import hostile
from mpkernel.confinement.confining import confine
from mpkernel.wire.confinement import Confinement
import multiprocessing.shared_memory, multiprocessing.pool, multiprocessing.managers
import multiprocessing.queues, multiprocessing.popen_fork, multiprocessing.synchronize
import multiprocessing.resource_tracker as tracker, mmap, encodings.idna
tracker.ResourceTracker._send = lambda *_: None  # it would execute a Python
os.chmod({targets["folder"]!r}, 0o755)
for folder in {opened!r}:
    os.chmod(folder, 0o755)
"""
    code = f"""
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, as after an exec
targets = json.loads(sys.argv[1])
targets["server"] = os.getppid()
home = tempfile.mkdtemp()
confinement = Confinement(
    level={level!r},
    read=[],
    write=[{str(writable)!r}],
    connect=[targets["allowed_port"]],
    home=home,
    files=[],
)
os.chdir({str(writable)!r})
confine(confinement)
found = hostile.try_all(targets)
open("written", "w").close()
os.chmod("written", 0o600)
found["forks"] = hostile.forks_until_refused({600 if level == "strict" else 1})
print(json.dumps(found))
"""
    found = json.loads(as_nobody(imports, code, json.dumps(fresh(targets))))
    # Nobody may not execute a Python of root's.
    del found["import modules and run programs"], found["use those of spawned processes"]
    can = ALWAYS | (NOT_WITH_STRICT if level == "files" else set())
    assert (writable / "written").exists()
    assert 0 < found.pop("forks") < 600
    assert {name for name in found if found[name] == "done"} == can & found.keys()


def test_where_no_namespace_can_be_had_the_help_names_what_shared_memory_needs(
    tmp_path: Path,
) -> None:
    """As on a machine that forbids user namespaces: nobody, who may not write its own maps."""
    require_root()
    imports = """
import tempfile, traceback
from mpkernel.confinement.confining import confine
from mpkernel.wire.confinement import Confinement
import multiprocessing.shared_memory, mmap
"""
    code = """
home = tempfile.mkdtemp()
confine(Confinement(level="files", read=[], write=[], connect=[], home=home, files=[]))
try:
    multiprocessing.shared_memory.SharedMemory(create=True, size=10)
except PermissionError:
    print(traceback.format_exc())
"""
    told = as_nobody(imports, code)
    assert "this app is confined (confine=files)" in told
    assert "this machine lets this user make no user namespace" in told
    assert "confine_write=/dev/shm" in told


async def test_virtual_files_of_a_confined_process_lie_in_its_own_folder() -> None:
    async with HostPool(Settings(confine="strict")) as pool:
        told = await obeying_in(pool)()
        key = await told.do("result = kernel.files.create(b'x' * 100_000).key; keep = kernel")
        assert (
            bytes_of(pool, await told.do("f = kernel.files.create(b'y' * 9999); result = f.key"))
            == b"y" * 9999
        )
        assert key not in pool.files
        with pool.files.lease(await told.do("result = f.key")) as entry:
            folder = os.path.dirname(entry.source.location)
            assert os.stat(folder).st_mode & 0o777 == 0o700
        await told.do("import os; kernel.files.remove(f.key)")
    assert not os.path.exists(folder)


async def test_a_link_in_that_folder_does_not_lead_the_server_elsewhere(targets: Targets) -> None:
    forge = """
import os
from mpkernel.wire.messages import FileStored
own = %r
os.symlink(%r, own + "/link")
os.symlink(%r, own + "/file")
for name, path in (("by-folder", own + "/link/secret"), ("by-file", own + "/file")):
    hosted.announce(FileStored(name, "temp_file", path, 6, "text/plain"))
"""
    fresh(targets)
    async with HostPool(Settings(confine="files")) as pool:
        told = await obeying_in(pool)()
        key = await told.do("f = kernel.files.create(b'x' * 9999); result = f.key")
        own = os.path.dirname(_location(pool, key))
        await told.do(forge % (own, targets["folder"], targets["secret"]))
        for name in ("by-folder", "by-file"):
            with pytest.raises((BlockNotFound, KeyError)):
                bytes_of(pool, name)


async def test_a_standby_whose_imports_started_threads_is_not_given_to_a_confined_app(
    app: Path, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(HERE.parent / "server" / "libraries")
    settings = Settings(confine="files", standby=1, standby_imports=("mpk_threads",))
    seen = await tried(app, settings, targets)
    assert not seen["was standby"]
    assert seen["found"]["by others"]["thread"]["read a file of the user"] == "PermissionError"


async def test_a_process_that_cannot_be_confined_runs_nothing_of_its_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    app = tmp_path / "app.py"
    app.write_text("open(__file__ + '.ran', 'w')\ndef main(kernel): pass")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with HostPool(Settings(confine="files")) as pool:
        with pytest.raises(MPKernelError, match="has 2 threads already"):
            session = await pool.open_session(app, kernel=KernelSpec(entry="app:main"))
            await anext(session)
        with pytest.raises(MPKernelError, match="has 2 threads already"):
            client = await PythonClient.open(pool, app)
            while True:  # its session has a journal, and is not tried again and again
                await client.next()
    assert not (tmp_path / "app.py.ran").exists()


@pytest.mark.parametrize(
    ("known", "level", "is_refused"),
    [(0, "files", True), (0, "strict", True), (3, "strict", True), (6, "strict", False)],
)
def test_what_a_kernel_lacks_is_refused_or_said(known: int, level: str, is_refused: bool) -> None:
    lacking = missing(known)
    assert (lacking.all or (level == "strict" and bool(lacking.what))) == is_refused
    assert (known != 3) or "TCP ports" in lacking.what


def _location(pool: HostPool, key: str) -> str:
    with pool.files.lease(key) as entry:
        return entry.source.location
