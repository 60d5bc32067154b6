"""`mpkernel systemd`: writes a unit that systemd accepts, with all of the server's paths and
options."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mpkernel.cli.systemd import run
from mpkernel.errors import MPKernelError

HARDENED = {
    "NoNewPrivileges=yes",
    "PrivateTmp=yes",
    "ProtectSystem=full",
    "MemoryMax=75%",
    "Restart=on-failure",
    "KillMode=mixed",
    "OOMPolicy=continue",
}
ODD = ["a b", 'q"uote', "100%", "$HOME", "back\\slash", "tab\there", ";", "ünï"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which has notebooks and a name that must be escaped."""
    folder = tmp_path / "50% off"
    (folder / "note books").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def unit(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["--unit-user", "daemon", *arguments]) == 0
    return capsys.readouterr().out


def directives(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and line[0] not in "#["]


def verify(text: str, folder: Path) -> None:
    assert shutil.which("systemd-analyze"), "install Debian's package systemd"
    path = folder / "mpkernel.service"
    path.write_text(text)
    end = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True
    )
    assert (end.returncode, end.stderr) == (0, "")


def test_systemd_takes_the_unit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = unit(capsys, "note books", "--port", "2718", "--", *ODD)
    verify(text, tmp_path)


def test_a_unit_that_systemd_would_not_take_is_noticed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = unit(capsys, "note books").replace("KillMode=mixed", "KillMode=gently")
    with pytest.raises(AssertionError, match="gently"):
        verify(text, tmp_path)


def test_each_line_says_what_it_is_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = unit(capsys, "note books").splitlines()
    for number, line in enumerate(lines):
        if "=" in line and not line.startswith("#"):
            assert lines[number - 1].startswith("# "), line
    assert set(lines) >= HARDENED


def test_it_runs_what_was_given_where_it_was_given(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = unit(capsys, "note books", "--port", "2718")
    assert f"WorkingDirectory={folder}".replace("%", "%%") in directives(text)
    assert (
        f'ExecStart={sys.executable} -m mpkernel run --headless "note books" --port 2718'
        in directives(text)
    )
    assert "User=daemon" in directives(text)


def test_its_own_options_may_follow_the_paths(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = unit(capsys, "note books", "--unit-memory", "8G", "--", "--unit-name", "x")
    assert "MemoryMax=8G" in directives(text)
    assert text == unit(capsys, "--unit-memory=8G", "note books", "--", "--unit-name", "x")
    (line,) = [line for line in directives(text) if line.startswith("ExecStart=")]
    assert line.endswith('"note books" -- --unit-name x')


def test_words_are_quoted_as_systemd_wants_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = unit(capsys, "note books", "--headless", "--", *ODD)
    (line,) = [line for line in directives(text) if line.startswith("ExecStart=")]
    assert line.partition(" -- ")[2] == (
        r'"a b" "q\"uote" "100%%" "$$HOME" "back\\slash" "tab\there" ";" "ünï"'
    )


def test_there_is_time_to_drain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "TimeoutStopSec=13" in directives(unit(capsys, "note books"))
    long = unit(capsys, "note books", "--drain-grace-s", "120")
    assert "TimeoutStopSec=126" in directives(long)
    assert "--drain-grace-s 120" in long
    (folder / "pyproject.toml").write_text("[tool.mpkernel]\ndrain_grace_s = 60\n")
    assert "TimeoutStopSec=66" in directives(unit(capsys, "note books"))


def test_the_environment_of_who_prints_it_is_not_the_services(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPKERNEL_DRAIN_GRACE_S", "120")
    assert "TimeoutStopSec=13" in directives(unit(capsys, "note books"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "there is nothing at nowhere"),
        (["--port", "80"], "no notebook and no folder is named"),
        (["note books", "--standby", "many"], "--standby is 'many'"),
        (["--unit-memory", "much", "note books"], "--unit-memory is 'much'"),
        (["--unit-name", "a b", "note books"], "--unit-name is 'a b'"),
        (["--unit-user", "root", "note books"], "as root"),
        (["--unit-usr", "daemon", "note books"], "no option --unit-usr: did you mean --unit-user"),
        (["note books", "--prot", "2718"], "no option --prot: did you mean --port"),
        (["note books", "--zzzz"], "there is no option --zzzz"),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, arguments: list[str], says: str) -> None:
    user = [] if "--unit-user" in arguments else ["--unit-user", "daemon"]
    with pytest.raises(MPKernelError, match=says):
        run([*user, *arguments])


def test_who_prints_it_runs_it_but_never_root(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(MPKernelError, match="--unit-user"):
        run(["note books"])


def test_no_arguments_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Usage: mpkernel systemd" in capsys.readouterr().err
    for asked in (["--help"], ["/tmp", "--help"]):
        assert run(asked) == 0
        assert capsys.readouterr().out.startswith("Usage: mpkernel systemd")
