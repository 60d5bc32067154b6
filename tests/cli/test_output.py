"""What the commands have in common: width, colors, JSON, completion, help and suggestions."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.terminals import Terminal
from server.operators import OperatedServer, ready_hosts, user_directories
from waiting import until

from mpkernel.cli.commands import COMMANDS
from mpkernel.cli.main import main
from mpkernel.cli.screen import Screen
from mpkernel.cli.tables import columns, wrapped
from mpkernel.server.operations.crashes import CrashReport, CrashReports, Memory, SessionAtDeath
from mpkernel.server.operations.snapshot import (
    AppSnapshot,
    HostSnapshot,
    PoolSnapshot,
    ServerSnapshot,
    SessionSnapshot,
)

PAGE = Path(__file__).parents[2] / "mpkernel" / "docs" / "commands.md"
COLOR = re.compile(r"\x1b\[[0-9;]*m")
WIDTH = 62


@pytest.fixture(scope="module")
def server() -> Iterator[OperatedServer]:
    """A server with an app, a session, and a death that is reported."""
    with pytest.MonkeyPatch.context() as monkeypatch, user_directories(monkeypatch) as folder:
        monkeypatch.setenv("MPKERNEL_TEST_MARK", "several tests share this server")
        CrashReports(10).keep(
            CrashReport(
                at=1_700_000_000.0,
                server_pid=77,
                version="0.1.0",
                app="/apps/a name that is much longer than others 日本.py",
                pid=5,
                reason="crash",
                what="the process was killed by SIGSEGV, " + "and this is said at length " * 5,
                faults="",
                last_lines=["x" * 200],
                memory=[],
                sessions=[],
            )
        )
        with OperatedServer(folder) as server:
            until(ready_hosts)
            yield server


@pytest.mark.parametrize(
    "command",
    [["status", "--sessions"], ["crashes"], ["crashes", "1"], ["settings"], ["doctor"], ["docs"]],
    ids=" ".join,
)
def test_nothing_is_wider_than_the_terminal(server: OperatedServer, command: list[str]) -> None:
    program = [sys.executable, "-m", "mpkernel", *command]
    with Terminal(program, server.app.parent, size=(WIDTH, 24), color=True) as terminal:
        terminal.end()
    assert COLOR.search(terminal.shown)
    lines = COLOR.sub("", terminal.shown).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert any(line.startswith("→ ") for line in lines)


def test_a_user_who_wants_no_color_gets_none(server: OperatedServer) -> None:
    program = [sys.executable, "-m", "mpkernel", "status"]
    with Terminal(program, server.app.parent, size=(WIDTH, 24)) as terminal:
        assert terminal.end() == 0
    assert "\x1b" not in terminal.shown


@pytest.mark.parametrize(
    ("command", "field"),
    [
        ("status", "servers"),
        ("crashes", "reports"),
        ("settings", "settings"),
        ("sessions list", "sessions"),
        ("sandbox list", "environments"),
        ("docs", "pages"),
    ],
)
def test_programs_get_an_object_that_says_what_it_is(
    server: OperatedServer, command: str, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["command"], told["shape"]) == (command, 1)
    [row] = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{command}`")]
    assert all(f"`{name}`" in row for name in told.keys() - {"command", "shape"})
    assert field in told


def test_top_prints_a_line_of_json_again_and_again(server: OperatedServer) -> None:
    program = [sys.executable, "-m", "mpkernel", "top", "--json", "--interval", "0.01"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as top:
        assert top.stdout is not None
        for _ in range(2):
            told = json.loads(top.stdout.readline())
            assert told["command"] == "top"
            assert [one["pid"] for one in told["servers"]] == [server.pid]
        top.terminate()


@pytest.mark.parametrize(
    "kind",
    [
        *(ServerSnapshot, PoolSnapshot, AppSnapshot, HostSnapshot, SessionSnapshot),
        *(CrashReport, Memory, SessionAtDeath),
    ],
)
def test_every_field_is_documented(kind: type[ServerSnapshot]) -> None:
    page = PAGE.read_text()
    assert [name for name in kind.__struct_fields__ if f"`{name}`" not in page] == []


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"]], ids=["alone", "help", "--help"])
def test_mpkernel_alone_shows_its_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^  {name} +{does}$", shown, re.M) for name, does in COMMANDS.items())


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"bench", "run"}))
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):  # argparse ends so
        main(["help", command])
    usage, _, examples = capsys.readouterr().out.partition("\nexamples")
    assert f"mpkernel {command}" in usage
    assert f"mpkernel {command}" in examples


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["statsu"], "there is no command statsu: did you mean status?"),
        (["--versoin"], "there is no option --versoin: did you mean --version?"),
        ([str(PAGE)], f"did you mean mpkernel run {PAGE}?"),
        (["status", "--jsno"], "did you mean --json?"),
        (["sessions", "forgt"], "did you mean forget?"),
        (["settings", "--standbi", "3"], "did you mean --standby?"),
        (["docs", "servng"], "did you mean serving?"),
    ],
)
def test_a_mistyped_word_gets_a_suggestion(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as end:
        code = end.code
    assert code in (1, 2)
    assert meant in capsys.readouterr().err


def test_a_wrong_value_is_no_mistyped_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sandbox", "prune", "--older-than", "x"])
    said = capsys.readouterr().err
    assert "'x' is not an age such as 90s" in said
    assert "did you mean" not in said


COMPLETE = """
eval "$(cat)"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_mpkernel
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_bash_completes_commands_options_orders_and_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my notebook.py").touch()
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out

    def completed(*words: str) -> list[str]:
        program = ["bash", "-c", COMPLETE, "bash", "mpkernel", *words]
        end = subprocess.run(
            program, input=script, capture_output=True, text=True, cwd=tmp_path, check=True
        )
        return end.stdout.splitlines()

    assert completed("st") == ["status", "stop"]
    assert completed("status", "--j") == ["--json"]
    assert completed("run", "--memory-h") == ["--memory-hard-bytes"]
    assert completed("sessions", "f") == ["forget"]
    assert completed("run", "my") == ["my notebook.py"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)


def test_columns_fit_by_cutting_texts_and_then_by_leaving_columns_out() -> None:
    rows = [("NAME", "N", "WHAT"), ("日本" * 10, "7", "a long sentence")]
    cut = columns(rows, flexible={0, 2}, omit=(1,), screen=Screen(30))
    assert cut == ["NAME          N  WHAT", "日本日本日…   7  a long sente…"]
    narrow = columns(rows, flexible={0, 2}, omit=(1,), screen=Screen(22))
    assert narrow == ["NAME        WHAT", "日本日本…   a long se…"]
    assert columns(rows, screen=Screen(5)) == ["NAME", "日本…"]


def test_lines_are_broken_at_blanks_and_words_are_cut() -> None:
    assert wrapped("one two three", Screen(7), indent="  ", first="") == ["one two", "  three"]
    assert wrapped("unbreakable", Screen(5)) == ["unbr…"]
    assert wrapped("one two", Screen()) == ["one two"]


def test_a_terminal_that_lacks_an_arrow_gets_another_character(server: OperatedServer) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "mpkernel", "docs"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
    )
    assert shown.stdout.splitlines()[-1] == "? mpkernel docs PAGE shows one"


def test_top_scrolls_sorts_and_filters_by_key(server: OperatedServer) -> None:
    program = [sys.executable, "-m", "mpkernel", "top", "--interval", "60"]
    with Terminal(program, server.app.parent, size=(100, 4)) as terminal:
        terminal.wait_for(f"server {server.pid} · ")
        terminal.wait_for("sort: by trouble")
        terminal.type("m")
        terminal.wait_for("sort: by memory")
        terminal.type("v")
        terminal.wait_for("1 to 3 of 5")
        terminal.type("\x1b[B")
        terminal.wait_for("2 to 4 of 5")
        terminal.type("G")
        terminal.wait_for("3 to 5 of 5")
        terminal.wait_for("session visitor: idle")
        terminal.type("/nothing has this")
        terminal.wait_for("filter: nothing has this")
        terminal.type("\r")
        terminal.wait_for("only nothing has this · q ends")
        terminal.type("\x1b")
        terminal.wait_for("1 to 3 of 5 · q ends")
        terminal.resize(90, 3)
        terminal.wait_for("1 to 2 of 5 · q ends")
        terminal.type("q")
        assert terminal.end() == 0
