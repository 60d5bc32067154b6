"""A command whose standard streams are closed, or take no more."""

from __future__ import annotations

import subprocess
import sys

import pytest

MPKERNEL = (sys.executable, "-m", "mpkernel")


def in_shell(redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of mpkernel with a shell's redirections, such as ">&-"."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *MPKERNEL, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("arguments", [[], ["docs", "serving"], ["completion", "bash"]])
def test_an_output_without_room_is_one_line_and_no_traceback(arguments: list[str]) -> None:
    ended = in_shell(">/dev/full", *arguments)
    said = "mpkernel: the output cannot be written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, said)


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed: str) -> None:
    ended = in_shell(closed, "docs", "commands")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_closed_stream_is_no_place_for_another_file() -> None:
    code = (
        "from mpkernel.cli.main import main; main(['--version'])\n"
        "import os, sys\n"
        "number = os.open('/', os.O_RDONLY)\n"
        "print(number > 2, sys.stdout.fileno(), file=sys.stderr)\n"
    )
    ended = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" <&- >&-', sys.executable, code],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.stderr == "True 1\n"
