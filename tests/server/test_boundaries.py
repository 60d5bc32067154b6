"""What separates one app's process from another's, and both from other users."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from halves import queued_of
from other_user import as_nobody, require_root
from server.conftest import APPS

from mpkernel import HostPool, KernelSpec, Settings
from mpkernel.server.operations.crashes import kept_reports
from mpkernel.server.operations.finding import published_servers

OPERATED = Settings(snapshot=True, control=True, crash_reports=10, watch_interval_s=0.1)
ECHO = KernelSpec(entry="kernels:echo")


def open_files(pid: int) -> dict[str, set[str]]:
    """What a process has open, by kind: pipes, sockets and files, by their inodes."""
    found: dict[str, set[str]] = {"pipe": set(), "socket": set(), "file": set()}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        try:
            target, status = os.readlink(path), os.stat(path)
        except FileNotFoundError:  # closed meanwhile
            continue
        kind = target.partition(":")[0]
        if target.startswith("/") and target != "/dev/null":
            found["file"].add(f"{status.st_dev}:{status.st_ino} {target}")
        elif kind in found:
            found[kind].add(target)
    return found


@contextmanager
def opening_all_the_time() -> Iterator[None]:
    """A thread that opens and closes what children could inherit, as fast as it can."""
    over = threading.Event()
    opened = threading.Event()

    def keep_opening() -> None:
        while not over.is_set():
            fds = [*os.pipe(), os.open(__file__, os.O_RDONLY)]
            with socket.socket() as one:
                for fd in (*fds, one.fileno()):
                    os.set_inheritable(fd, True)
                opened.set()
            for fd in fds:
                os.close(fd)

    thread = threading.Thread(target=keep_opening)
    thread.start()
    opened.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def test_no_process_has_a_descriptor_of_another_or_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    apps = []
    for number in range(6):
        (tmp_path / str(number)).mkdir()
        apps.append(shutil.copy(APPS / "kernels.py", tmp_path / str(number)))
    log = logging.FileHandler(tmp_path / "server.log")
    with socket.create_server(("127.0.0.1", 0)) as listening, opening_all_the_time():
        listening.set_inheritable(True)
        async with HostPool(Settings(standby=2, snapshot=True, control=True)) as pool:
            assert await pool.standby.wait_ready()
            await asyncio.gather(*(pool.open_session(app, kernel=ECHO) for app in apps))
            assert await pool.standby.wait_ready()
            pids = [host.pid for host in pool.hosts] + pool.standby.pids
            assert len(set(pids)) == 8
            processes = [open_files(pid) for pid in pids]
            server = open_files(os.getpid())
    log.close()
    assert any("server.log" in path for path in server["file"])
    assert len(server["socket"]) > 2 * len(pids)
    for number, process in enumerate(processes):
        assert len(process["socket"]) == 2  # the Pipes
        assert not process["socket"] & server["socket"]
        # libffi opens its own library where it maps its code a second time.
        assert [file for file in process["file"] if "/libffi.so" not in file] == []
        for other in processes[:number]:
            assert not process["socket"] & other["socket"]
            assert not process["pipe"] & other["pipe"]


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Directories for temporary files and for state that everybody may write to, as `/tmp`."""
    folder = Path(tempfile.mkdtemp(prefix="mpk-t-"))
    folder.chmod(0o1777)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


_ATTEMPTS = """
def attempt(what, path):
    try:
        if what == "connect":
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(path)
        elif what == "list":
            os.listdir(path)
        elif what == "write":
            os.close(os.open(path, os.O_WRONLY))
        elif what == "replace":
            os.rename(path, path + ".moved")
        elif what == "signal":
            os.kill(int(path), 0)
        else:
            with open(path, "rb") as file:
                file.read()
    except PermissionError:
        return "refused"
    except OSError as error:
        return str(error)
    return "could"

print(json.dumps([[what, path, attempt(what, path)] for what, path in json.loads(sys.argv[1])]))
"""


def tried_by_another_user(attempts: list[tuple[str, str]]) -> None:
    """Check that this user can do each of these, and that another user can do none of them."""
    for what, path in attempts:
        if what == "connect":
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(path)
        elif what in ("read", "write"):
            os.close(os.open(path, os.O_RDONLY if what == "read" else os.O_WRONLY))
    tried = json.loads(as_nobody("import json, socket", _ATTEMPTS, json.dumps(attempts)))
    assert [one for one in tried if one[2] != "refused"] == []
    assert len(tried) == len(attempts)


@pytest.mark.parametrize("storage", ["shared_memory", "temp_file"])
async def test_another_user_reads_no_file_of_an_app(
    open_folder: Path, storage: str, tmp_path: Path
) -> None:
    require_root()
    app = tmp_path / "app.py"
    app.write_text(
        "def main(kernel):\n"
        "    file = kernel.files.create(b'private', media_type='text/plain', extension='txt')\n"
        "    kernel.send(file.key.encode())\n"
        "    kernel.receive()\n"
    )
    async with HostPool(Settings(file_storage=storage)) as pool:  # type: ignore[arg-type]
        session = await pool.open_session(app, kernel=KernelSpec(entry="app:main"))
        key = (await anext(session)).payload.decode()
        with pool.files.lease(key) as entry:
            assert b"".join(entry.chunks()) == b"private"
            place = entry.source.location
        path = f"/dev/shm/{place}" if storage == "shared_memory" else place
        assert Path(path).read_bytes()[:7] == b"private"
        attempts = [("read", path), ("write", path)]
        if storage == "temp_file":
            attempts += [("list", os.path.dirname(path)), ("replace", os.path.dirname(path))]
        await asyncio.to_thread(tried_by_another_user, attempts)


async def test_another_user_neither_sees_nor_orders_nor_reads_reports(open_folder: Path) -> None:
    require_root()
    async with HostPool(OPERATED) as pool:
        died = await pool.open_session(
            APPS / "kernels.py", kernel=KernelSpec(entry="kernels:exit_the_process")
        )
        await queued_of(died)._ended.wait()
        pid = (await pool.open_session(APPS / "kernels.py", kernel=ECHO)).pid
        while not (published_servers() and kept_reports()):
            await asyncio.sleep(0.02)
        [server] = published_servers()
        [report] = kept_reports()
        runtime = server.path.parent
        assert runtime.is_relative_to(open_folder)
        assert report.is_relative_to(open_folder)
        [control] = [path for path in runtime.iterdir() if path.is_socket()]
        attempts = [
            ("read", str(server.path)),
            ("list", str(runtime)),
            ("replace", str(runtime)),
            ("connect", str(control)),
            ("read", str(report)),
            ("list", str(report.parent)),
            ("signal", str(pid)),
            ("read", f"/proc/{pid}/environ"),
            ("list", f"/proc/{pid}/fd"),
            ("read", f"/proc/{os.getpid()}/environ"),
        ]
        await asyncio.to_thread(tried_by_another_user, attempts)


def test_what_is_open_to_another_user_is_seen_to_be(open_folder: Path) -> None:
    require_root()
    (open_folder / "open").write_text("for all")
    with pytest.raises(AssertionError, match="could"):
        tried_by_another_user([("read", str(open_folder / "open"))])
