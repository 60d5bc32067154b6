"""Small scripts over the breadth of the standard library, as `mpkernel exec` runs them, as a
session does, and as plain `python`: the same stdout, stderr and exit code.

What belongs to a process as a whole (`atexit`, threads that outlive the main code, descriptors 1
and 2, signals, the main thread) a session shares with others. Scripts about that run by
`mpkernel exec` alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import pytest
from _pytest.mark.structures import ParameterSet

from mpkernel import HostPool
from mpkernel.client import PythonClient
from mpkernel.kernel.messages import Console, Done, Failure, InputRequest, Status

SCRIPTS = Path(__file__).with_name("scripts")
OF_A_PROCESS = {
    "05_threads",  # a thread's traceback begins with the frames that started it
    "10_traceback_uncaught",
    "11_exit_code",
    "17_fork",
    "18_spawn",
    "19_atexit",
    "20_thread_outlives",
    "24_stdin",
    "25_del_at_exit",
    "26_print",  # to `sys.__stdout__`
    "27_stdout_buffer",  # bytes that are not text
    "28_subprocess",
    "29_signals",
    "30_redirect",  # of `sys.stdin`
    "36_weakref_gc",  # finalizers at the exit
    "43_os_exit",
}
STDIN = "first\nsecond\nthird\n"


class Ran(NamedTuple):
    stdout: str
    stderr: str
    exit_code: int


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": "", "PYTHONIOENCODING": "utf-8"}


def by_python(script: Path) -> Ran:
    return by_command(sys.executable, script)


def by_exec(script: Path) -> Ran:
    return by_command(sys.executable, "-m", "mpkernel", "exec", script)


def by_command(*command: str | Path) -> Ran:
    done = subprocess.run(
        [*command, "a", "b"],
        input=STDIN.encode(),
        capture_output=True,
        env=environment(),
        cwd=SCRIPTS,
        check=False,
    )
    return Ran(shown(done.stdout), shown(done.stderr), done.returncode)


def shown(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


async def by_session(script: Path) -> Ran:
    printed = {"stdout": "", "stderr": ""}
    exit_code = 0
    answers = STDIN.splitlines()
    async with HostPool() as pool:
        client = await PythonClient.open(pool, script, argv=("a", "b"), env=environment())
        client.run_app()
        begun = False
        async for message in client:
            match message:
                case Status():
                    if begun and message.state == "idle":
                        break
                    begun = message.state == "busy"
                case Console():
                    printed[message.stream] += message.text
                case Failure():
                    printed["stderr"] += message.traceback
                    exit_code = 1
                case InputRequest():
                    printed["stdout"] += message.prompt
                    client.answer(answers.pop(0) if answers else None)
                case Done(outcome="exit"):
                    exit_code = message.exit_code
                case _:
                    pass
    return Ran(printed["stdout"], printed["stderr"], exit_code)


def scripts(*, without: Collection[str] = ()) -> list[ParameterSet]:
    return [
        pytest.param(script, id=script.stem)
        for script in sorted(SCRIPTS.glob("[0-9]*.py"))
        if script.stem not in without
    ]


@pytest.mark.parametrize("script", scripts())
def test_a_script_in_the_foreground_runs_as_python_runs_it(script: Path) -> None:
    assert by_exec(script) == by_python(script)


@pytest.mark.parametrize("script", scripts(without=OF_A_PROCESS))
async def test_a_session_runs_a_script_as_python_does(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(SCRIPTS)
    assert await by_session(script) == by_python(script)
