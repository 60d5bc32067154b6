"""ENOSPC: a full `/dev/shm`; a full disk for temporary files, states and snapshots."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from faults.limits import cpu_share
from faults.namespaces import fill, names, seen_by, with_small
from faults.served import STORE, Served, directories
from waiting import until

MIB = 2**20


def test_files_fall_back_and_then_their_app_gets_the_error(folder: Path) -> None:
    directories(folder)
    before = with_small({"/dev/shm": "1m", folder / "tmp": "4m"})
    with Served(folder, before=before, idle_retire_s=0.1) as server, server.steadily():
        for name in ("one", "other"):
            server.ask("open", name=name)
        (host,) = server.ask("hosts", app="one.py")
        keys = [
            server.says(
                "one", f"{STORE.format(size=size)}\nkept = [*globals().get('kept', []), file]"
            )
            for size in (MIB // 2, 3 * MIB)
        ]
        found = [server.ask("read", key=key.splitlines()[-1]) for key in keys]
        assert [one["kind"] for one in found] == ["block", "temp_file"]
        failed = server.ask("execute", name="one", code=STORE.format(size=2 * MIB))
        (failure,) = failed["failures"]
        assert "2,097,152 bytes were asked for" in failure
        assert f"make {folder}/tmp/" in failure
        assert "remove files from it" in failure
        assert "before that: no space in /dev/shm" in failed["tracebacks"][0]
        assert server.says("other", "print('here')") == "here\n"
        server.says("one", "kept.clear(); del file")
        key = server.says("one", STORE.format(size=2 * MIB)).splitlines()[-1]
        assert server.ask("read", key=key)["size"] == 2 * MIB
        assert server.ask("hosts", app="one.py") == [host]
        shm, temporary = seen_by(server.pid, Path("/dev/shm")), seen_by(server.pid, folder / "tmp")
        server.says("one", "del file")
        server.ask("end", name="one")
        server.ask("end", name="other")
        until(lambda: not server.ask("hosts", app="one.py"))
        until(lambda: names(shm) + names(temporary) == [])


def test_reports_and_snapshots_that_do_not_fit_come_later(folder: Path) -> None:
    directories(folder)
    before = with_small({folder / "state": "64k", folder / "run": "64k"})
    with Served(folder, before=before) as server, server.steadily():
        state, runtime = (seen_by(server.pid, folder / name) for name in ("state", "run"))
        server.ask("open", name="one")
        server.says("one", "pass")
        filling = [fill(state), fill(runtime)]
        died = die(server)
        assert "was killed by SIGKILL" in server.ask("restarted", name="one")
        until(lambda: server.log.count("[Errno 28] No space left on device") == 2)
        assert cpu_share(server.pid) < 0.3
        assert "no reports of deaths can be kept for now" in server.log
        assert "no snapshot can be kept for operators for now" in server.log
        assert not any(name.endswith(".json") for name in names(state))
        for file in filling:
            file.unlink()
        until(lambda: [name for name in names(state) if f"-{died}.json" in name])
        later = die(server)
        assert "was killed by SIGKILL" in server.ask("restarted", name="one")
        until(lambda: [name for name in names(state) if f"-{later}.json" in name])
        until(lambda: sum(app.deaths for app in server.snapshot().pool.apps) == 2)
        assert [name for name in names(runtime) if "/." in name] == []


def die(server: Served) -> int:
    """End the app's process. Returns its process id."""
    (host,) = server.ask("hosts", app="one.py")
    os.kill(host, signal.SIGKILL)
    return int(host)
