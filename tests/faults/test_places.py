"""A home directory that cannot be written to, or none; no temporary directory; no `/dev/shm`."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from cli.test_doctor import CRIPPLINGS, command_in
from faults.namespaces import seen_by, with_mounts
from faults.served import STORE, Served, directories
from faults.users import as_somebody
from waiting import until

READ_ONLY = "mount -t tmpfs -o ro tmpfs"
NOWHERE: Mapping[str, str | None] = dict.fromkeys(
    ("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
)


class Home(NamedTuple):
    """What a user has.

    Attributes:
        env: what differs in the environment, `{}` the folder.
        script: run by a shell before, in a mount namespace of its own.
        somebody: whether it is a user without a name.
        warns: what the log then says of reports of deaths.
    """

    env: Mapping[str, str | None]
    script: str = ""
    somebody: bool = False
    warns: str = ""


HOMES = {
    "a read-only home": Home(
        {**NOWHERE, "HOME": "{}/home"}, f"{READ_ONLY} {{}}/home", warns="Read-only file system"
    ),
    "no home": Home(NOWHERE, somebody=True, warns="this user has no home directory"),
    "unwritable XDG directories": Home(
        {"XDG_RUNTIME_DIR": "{}/home/run", "XDG_STATE_HOME": "{}/home/state"},
        f"{READ_ONLY} {{}}/home",
        warns="Read-only file system",
    ),
    "no temporary directory": Home(
        {},
        "mount --bind {}/run {}/run && mount --bind {}/state {}/state"
        f" && {READ_ONLY} /var/tmp && mount --rbind /tmp /tmp && mount -o remount,bind,ro /tmp",
    ),
}


@pytest.fixture(params=HOMES)
def home(request: pytest.FixtureRequest) -> Home:
    return HOMES[request.param]


def test_a_user_with_nowhere_to_write_is_served(folder: Path, home: Home) -> None:
    directories(folder)
    before = with_mounts(home.script.format(*[folder] * 9)) if home.script else ()
    if home.somebody:
        before = (*before, *as_somebody())
    env = {name: value and value.format(folder) for name, value in home.env.items()}
    with Served(folder, before=before, env=env) as server, server.steadily():
        server.ask("open", name="one")
        key = server.says("one", STORE.format(size=100_000)).splitlines()[-1]
        assert server.ask("read", key=key)["size"] == 100_000
        (host,) = server.ask("hosts", app="one.py")
        os.kill(host, signal.SIGKILL)
        assert "was killed by SIGKILL" in server.ask("restarted", name="one")
        assert server.says("one", "print('again')") == "again\n"
        if home.warns:
            until(lambda: "no reports of deaths can be kept for now" in server.log)
        assert home.warns in server.log
        assert not (folder / "~").exists()
        place = seen_by(server.pid, folder) if home.script else folder
        assert list(place.rglob("mpk-*.json")), "operators see the server"


@pytest.mark.parametrize("lacking", ["no /dev/shm", "a read-only /dev/shm"])
def test_without_shared_memory_files_are_temporary_ones(folder: Path, lacking: str) -> None:
    with Served(folder, before=command_in(CRIPPLINGS[lacking])) as server, server.steadily():
        server.ask("open", name="one")
        key = server.says("one", STORE.format(size=100_000)).splitlines()[-1]
        found = server.ask("read", key=key)
        assert (found["kind"], found["size"]) == ("temp_file", 100_000)


def test_without_any_place_for_files_their_app_gets_the_error(folder: Path) -> None:
    directories(folder)
    script = (
        f"{HOMES['no temporary directory'].script.format(*[folder] * 4)} && {READ_ONLY} /dev/shm"
    )
    with Served(folder, before=with_mounts(script)) as server, server.steadily():
        server.ask("open", name="one")
        failed = server.ask("execute", name="one", code=STORE.format(size=100_000))
        (failure,) = failed["failures"]
        assert failure.startswith("Unavailable: no temporary file can be had")
        assert "mount a tmpfs at /dev/shm" in failed["tracebacks"][0]
        assert server.says("one", "print('here')") == "here\n"
