"""`mpkernel doctor` on hosts that lack something: its lines are right, and mpkernel serves all the
same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
import pytest

from mpkernel.cli.doctor import run

HERE = Path(__file__).parent
SERVING = HERE / "serving.py"
WITHOUT_CALL = HERE / "without_call.py"
PIDFD_OPEN = "434"

EXIT_CODES = {"OK": 0, "WARN": 1, "FAIL": 2}

NO_SHM = """
mount -t tmpfs tmpfs /mnt && cd /dev && for device in null zero urandom; do
    touch /mnt/$device && mount --bind $device /mnt/$device
done && cd "$OLDPWD" && mount --rbind /mnt /dev && exec "$@"
"""


class Crippling(NamedTuple):
    """What a host lacks.

    Attributes:
        script: run by a shell before the command.
        namespaces: of its own; none: none is needed.
        before: runs the command.
        expected: the level, and words, of lines.
        kind: where a virtual file of 16 MiB then lies.
    """

    expected: Mapping[str, tuple[str, str]]
    script: str = 'exec "$@"'
    namespaces: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    kind: str = "block"


CRIPPLINGS = {
    "a small /dev/shm": Crippling(
        {"shared memory": ("WARN", "/dev/shm of 8 MiB, 8 MiB of it free")},
        'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"',
        ("--mount",),
        kind="temp_file",
    ),
    "a read-only /dev/shm": Crippling(
        {"shared memory": ("WARN", "nothing can be written to /dev/shm (Read-only file system)")},
        'mount -t tmpfs -o ro tmpfs /dev/shm && exec "$@"',
        ("--mount",),
        kind="temp_file",
    ),
    "no /dev/shm": Crippling(
        {"shared memory": ("WARN", "/dev/shm (No such file or directory)")},
        NO_SHM,
        ("--mount",),
        kind="temp_file",
    ),
    "no folder for what is kept": Crippling(
        {"state": ("WARN", "kept in /dev/null/mpkernel (Not a directory)")},
        'export XDG_STATE_HOME=/dev/null && exec "$@"',
    ),
    "no /proc": Crippling(
        {"/proc": ("WARN", "cannot be read (nothing is mounted there)")},
        'mount -t tmpfs tmpfs /proc && exec "$@"',
        ("--mount",),
    ),
    "a /proc that hides others": Crippling(
        {"/proc": ("OK", "hides other users' processes (hidepid=")},
        'mount -t proc -o hidepid=2 proc /proc && exec "$@"',
        ("--mount", "--pid", "--fork"),
    ),
    "a mount whose name is no UTF-8": Crippling(
        {"/proc": ("OK", "shows ")},
        'mount -t tmpfs tmpfs /mnt && place="/mnt/$(printf "caf\\351\\205")" && mkdir "$place"'
        ' && mount -t tmpfs tmpfs "$place" && exec "$@"',
        ("--mount",),
    ),
    "no pidfd": Crippling(
        {"pidfd": ("WARN", "cannot be had (Function not implemented)")},
        before=(sys.executable, str(WITHOUT_CALL), PIDFD_OPEN),
    ),
    "few descriptors": Crippling(
        {"descriptors": ("WARN", "64 a process: about 4 apps at a time")},
        'ulimit -n 64 && exec "$@"',
    ),
    "few addresses": Crippling(
        {"sizes": ("WARN", "a process may have 1 GiB of addresses")},
        'ulimit -v 1048576 && exec "$@"',
    ),
    "small files": Crippling(
        {"sizes": ("WARN", "a file may have 512 MiB")},
        'ulimit -f 1048576 && exec "$@"',
    ),
}


@pytest.fixture(params=CRIPPLINGS)
def crippled(request: pytest.FixtureRequest) -> Crippling:
    return CRIPPLINGS[request.param]


def command_in(crippling: Crippling) -> list[str]:
    """The beginning of a command that runs on such a host."""
    shell = [*crippling.before, "/bin/sh", "-c", crippling.script, "sh"]
    if not crippling.namespaces:
        return shell
    failures = []
    for extra in ([], ["--map-root-user"]):
        command = ["unshare", *crippling.namespaces, *extra, *shell]
        probe = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if not probe.returncode:
            return command
        failures.append(probe.stderr)
    pytest.fail(f"no such namespace can be had here: {failures}")


def doctor(
    before: Sequence[str] = (), *options: str, python: Sequence[str] = (sys.executable,), **env: str
) -> dict[str, Any]:
    """The lines that the doctor writes, by their names. Its exit code must fit them."""
    end = subprocess.run(
        [*before, *python, "-m", "mpkernel", "doctor", "--json", *options],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **env},
    )
    assert end.stdout, end.stderr
    found = json.loads(end.stdout)
    assert end.returncode == EXIT_CODES[found["level"]]
    assert found["level"] == max(
        (line["level"] for line in found["lines"]), key=["OK", "WARN", "FAIL"].index
    )
    assert found["lines"][-1]["name"] == "app"
    return {line["name"]: line for line in found["lines"]}


def served(before: Sequence[str], python: Sequence[str] = (sys.executable,)) -> dict[str, Any]:
    """The results of a pool in such an environment."""
    end = subprocess.run(
        [*before, *python, str(SERVING)], capture_output=True, text=True, timeout=240
    )
    assert end.returncode == 0, end.stderr
    found = json.loads(end.stdout)
    assert isinstance(found, dict)
    return found


def test_a_crippled_host_is_described_and_an_app_starts_on_it(crippled: Crippling) -> None:
    lines = doctor(command_in(crippled))
    for name, (level, words) in crippled.expected.items():
        assert lines[name]["level"] == level, lines[name]
        assert words in lines[name]["says"]
        assert bool(lines[name]["remedy"]) == (level != "OK")
    assert lines["app"]["level"] == "OK", lines["app"]


def test_mpkernel_serves_on_a_crippled_host(crippled: Crippling) -> None:
    found = served(command_in(crippled))
    assert found["answer"] == "well?"
    assert found["intact"] is True
    assert found["kind"] == crippled.kind
    assert "SIGKILL" in found["died"]
    assert found["again"] == "again?"


@pytest.fixture
def bare(tmp_path: Path) -> tuple[str, ...]:
    """An interpreter that can import msgspec, psutil and mpkernel, and no other installed
    package."""
    packages = tmp_path / "packages"
    packages.mkdir()
    root = HERE.parents[1]
    for package in (root / "mpkernel", root / "shm"):
        (packages / package.name).symlink_to(package)
    for module in (msgspec, psutil):
        folder = Path(module.__file__).parent
        (packages / folder.name).symlink_to(folder)
        (info,) = folder.parent.glob(f"{folder.name}-*.dist-info")
        (packages / info.name).symlink_to(info)
    return ("env", f"PYTHONPATH={packages}", sys.executable, "-S")


def test_without_uvloop_marimo_and_libzmq_it_says_what_that_means(
    bare: tuple[str, ...], tmp_path: Path
) -> None:
    lines = doctor(python=bare)
    assert lines["uvloop"]["level"] == "OK"
    assert "asyncio's loop, which is fine" in lines["uvloop"]["says"]
    assert lines["libzmq"]["says"] == "is not needed; is not here"
    assert lines["marimo"]["level"] == "WARN"
    assert "pip install 'mpkernel[marimo]'" in lines["marimo"]["remedy"]
    assert "(asyncio)" in lines["app"]["says"]
    found = served((), bare)
    assert found["loop"].startswith("asyncio")
    assert (found["again"], found["intact"]) == ("again?", True)


def test_on_a_host_that_takes_no_app_the_last_line_says_why() -> None:
    too_few = Crippling({}, 'ulimit -n 20 && exec "$@"')
    lines = doctor(command_in(too_few))
    assert lines["descriptors"]["level"] == "FAIL"
    assert lines["app"]["level"] == "FAIL"
    assert "Too many open files" in lines["app"]["says"]


def test_settings_that_cannot_be_are_a_failure_with_their_place() -> None:
    line = doctor(MPKERNEL_PING_TIMEOUT="30")["settings"]
    assert line["level"] == "FAIL"
    assert "MPKERNEL_PING_TIMEOUT in the environment names no setting" in line["says"]


def test_a_marimo_outside_the_range_is_a_failure_or_a_warning_where_it_is_tried(
    tmp_path: Path,
) -> None:
    (tmp_path / "marimo-0.22.0.dist-info").mkdir()
    (tmp_path / "marimo-0.22.0.dist-info" / "METADATA").write_text(
        "Name: marimo\nVersion: 0.22.0\n"
    )
    assert doctor(PYTHONPATH=str(tmp_path))["marimo"]["level"] == "FAIL"
    tried = doctor(PYTHONPATH=str(tmp_path), MPKERNEL_ALLOW_ANY_MARIMO="1")["marimo"]
    assert (tried["level"], tried["says"][:6]) == ("WARN", "0.22.0")


def test_sweep_removes_what_a_dead_process_left_and_only_then(tmp_path: Path) -> None:
    program = "from shm.names import own_tag; print(own_tag().prefix)"
    dead = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    left = tmp_path / f"{dead.stdout.strip()}left"
    left.mkdir()
    found = doctor(TMPDIR=str(tmp_path))["leftovers"]
    assert found["level"] == "WARN"
    assert "mpkernel doctor --sweep" in found["remedy"]
    assert left.exists()
    swept = doctor((), "--sweep", TMPDIR=str(tmp_path))["leftovers"]
    assert (swept["level"], swept["says"][:7]) == ("OK", "removed")
    assert not left.exists()


def test_people_get_a_line_for_each_thing_and_what_to_do_below_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPKERNEL_PING_TIMEOUT", "30")
    assert run([]) == 2
    lines = capsys.readouterr().out.splitlines()
    (position,) = [number for number, line in enumerate(lines) if line.startswith("FAIL  settings")]
    assert lines[position + 1].lstrip().startswith("→ correct it")
    assert lines[-2].startswith("OK    app")
    assert lines[-1].startswith("→ do what the lines with FAIL say")


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--help"])
    assert "0 OK, 1 WARN, 2 FAIL" in " ".join(capsys.readouterr().out.split())
