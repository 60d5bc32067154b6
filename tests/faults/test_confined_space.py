"""A full disk, which a confined app has filled: it gets the error in its cell, and no other app and
not the server is hurt."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from faults.namespaces import fill, names, seen_by, with_small
from faults.served import STORE, Served, directories
from waiting import until

from mpkernel.confinement.landlock import version

pytestmark = pytest.mark.skipif(version() < 6, reason="this kernel cannot confine an app wholly")

MIB = 2**20
FILL = """
import os, tempfile
file = open(os.path.join({folder}, "large"), "wb", buffering=0)
while True:
    file.write(bytes(2**16))
"""
FILL_WITH_NAMES = """
import itertools
for number in itertools.count():
    open(os.path.join(tempfile.gettempdir(), str(number)), "w").close()
"""
FOLDER_OF_FILES = """
print([one.path for one in os.scandir("/dev/shm") if one.is_dir()][0])
"""
NO_SPACE = "OSError: [Errno 28] No space left on device"


@pytest.mark.parametrize("level", ["files", "strict"])
def test_a_full_disk_is_an_error_in_the_cell_of_the_app_that_filled_it(
    folder: Path, level: str
) -> None:
    directories(folder)
    apps = folder / "apps"
    apps.mkdir()
    before = with_small({"/dev/shm": "2m", folder / "tmp": "4m,nr_inodes=300"})
    with Served(folder, before=before, confine=level, idle_retire_s=0.1) as server:
        with server.steadily():
            for name in ("one", "other", "third", "fourth", "fifth"):
                (apps / f"{name}.py").touch()
            for name in ("one", "other"):
                server.ask("open", name=name, app=str(apps / f"{name}.py"))
            (host,) = server.ask("hosts", app="one.py")
            temporary = seen_by(server.pid, folder / "tmp")

            for full, size in (("tempfile.gettempdir()", 4 * MIB), ("'/dev/shm'", 2 * MIB)):
                found = server.ask("execute", name="one", code=FILL.format(folder=full))
                assert found["failures"] == [NO_SPACE]
                assert 0 < int(server.says("one", "print(file.tell())")) <= size
            key = server.says("other", STORE.format(size=MIB)).splitlines()[-1]
            assert server.ask("read", key=key)["size"] == MIB
            own = seen_by(host, Path(server.says("one", FOLDER_OF_FILES).strip()))
            assert own.stat().st_dev == seen_by(server.pid, Path("/dev/shm")).stat().st_dev
            filling = fill(own)
            server.says("one", "os.truncate(os.path.join(tempfile.gettempdir(), 'large'), 0)")
            key = server.says("other", STORE.format(size=MIB)).splitlines()[-1]
            assert server.ask("read", key=key)["size"] == MIB
            filling.unlink()
            server.ask("open", name="third", app=str(apps / "third.py"))
            assert server.says("third", "print('here')") == "here\n"

            (failure,) = server.ask("execute", name="one", code=FILL_WITH_NAMES)["failures"]
            assert failure.startswith(NO_SPACE)
            refused = server.refused("open", name="fourth", app=str(apps / "fourth.py"))
            assert "No space left on device" in refused.what
            assert "TMPDIR" in refused.remedy
            assert server.says("other", "print('here')") == "here\n"
            assert server.ask("hosts", app="one.py") == [host]

            server.ask("end", name="one")
            until(lambda: not server.ask("hosts", app="one.py"))
            until(lambda: os.statvfs(temporary).f_ffree > 100)  # its folder is removed after it
            server.ask("open", name="fifth", app=str(apps / "fifth.py"))
            assert server.says("fifth", "print('here')") == "here\n"
        for name in ("other", "third", "fifth"):
            server.ask("end", name=name)
        until(lambda: names(temporary) == [])
