"""`mpkernel sessions`: what is stored, and how it is forgotten."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from server.store.stored import APP, KEY, OtherServer, files_in, other_server

from mpkernel.cli.main import main


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "mpkernel" / "sessions"


@pytest.fixture
def left(directory: Path) -> OtherServer:
    """A server that is dead, and has left a session."""
    with other_server(directory) as server:
        server.change(b"one")
    return server


def test_there_is_nothing_before_a_server_stores(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sessions"]) == 0
    assert "no sessions are stored" in capsys.readouterr().err
    assert not directory.exists()


@pytest.mark.usefixtures("left")
def test_it_lists_what_can_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "list"]) == 0
    head, row, then = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["SESSION", "APP"]
    assert row.split()[:2] == [KEY[:12], "app.py"]
    assert row.endswith("stored")
    assert then.startswith("→ mpkernel sessions forget ")
    for words in (["list", "--json"], ["--json"], ["--json", "list"]):
        assert main(["sessions", *words]) == 0
        (told,) = json.loads(capsys.readouterr().out)["sessions"]
        assert (told["session"], told["app"], told["state"]) == (KEY, APP, "stored")


@pytest.mark.usefixtures("left")
def test_the_directory_may_stand_before_and_after_the_order(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--directory", str(directory), "list"], ["list", "--directory", str(directory)]):
        assert main(["sessions", *words]) == 0
        assert KEY[:12] in capsys.readouterr().out
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    assert main(["sessions", "list", "--directory", str(tmp_path / "open")]) == 1
    said = f"the sessions cannot be read: {tmp_path}/open: it is open to others (chmod 700)"
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("left")
@pytest.mark.parametrize(
    "which", [[KEY[:12]], ["--app", "app.py"], ["--app", os.path.relpath(APP)], ["--all"]]
)
def test_what_is_forgotten_is_gone(
    directory: Path, which: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sessions", "forget", *which]) == 0
    assert capsys.readouterr().out == "1 forgotten\n"
    assert files_in(directory) == []


def test_what_a_server_has_stays(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with other_server(directory) as server:
        server.change(b"one")
        assert main(["sessions"]) == 0
        assert capsys.readouterr().out.splitlines()[1].endswith("live")
        assert main(["sessions", "forget", "--all"]) == 0
        assert "1 of them live" in capsys.readouterr().err
        assert len(files_in(directory)) == 1


@pytest.mark.usefixtures("left")
def test_what_is_not_there_cannot_be_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "forget", "0000x"]) == 1
    assert "no session is stored as 0000x" in capsys.readouterr().err
    assert main(["sessions", "forget", "--app", "ap.py"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "0 forgotten\n"
    assert shown.err == "no session is stored of an app ap.py: did you mean app.py?\n"


@pytest.mark.usefixtures("left")
@pytest.mark.parametrize(
    "words", [["forget", ""], ["forget", "--app", ""], ["forget", "--all", "--directory", ""]]
)
def test_what_is_empty_names_nothing(
    directory: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sessions", *words])
    assert ended.value.code == 2
    assert "it is empty (a shell variable that is not set?)" in capsys.readouterr().err
    assert len(files_in(directory)) == 1
