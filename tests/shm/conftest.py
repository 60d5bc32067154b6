"""Fresh interpreters, forks, what they leave behind, and code that is interrupted at each of its
lines."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest
from pythons import OTHERS, name_of
from waiting import PATIENCE_S

_ROOT = Path(__file__).parents[2]


@pytest.fixture(params=[sys.executable, *OTHERS], ids=name_of)
def interpreter(request: pytest.FixtureRequest) -> str:
    """Each Python that is here. The package needs nothing but the standard library on Linux."""
    return str(request.param)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a script in a fresh interpreter that shows every warning.

    Not as errors: a resource tracker swallows what it cannot warn of, leaks too. All that the
    script starts, its tracker too, shares its stdout and stderr: who has read them to their end
    has waited for all of it.
    """
    with contextlib.ExitStack() as ends:

        def start_script(
            script: str,
            *args: str,
            python: str = sys.executable,
            before: tuple[str, ...] = (),
            temp: Path | None = None,
        ) -> subprocess.Popen[str]:
            environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
            if temp is not None:
                environment["TMPDIR"] = str(temp)
            process = ends.enter_context(
                subprocess.Popen(
                    [*before, python, "-W", "default", "-c", textwrap.dedent(script), *args],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment,
                )
            )
            ends.callback(process.kill)
            return process

        yield start_script


@pytest.fixture
def ended() -> Callable[[subprocess.Popen[str]], subprocess.CompletedProcess[str]]:
    """Wait for a script, and for all that it started, to end."""

    def wait(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        out, err = process.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return wait


@pytest.fixture
def run(
    start: Callable[..., subprocess.Popen[str]],
    ended: Callable[[subprocess.Popen[str]], subprocess.CompletedProcess[str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script to its end, as `start` starts it."""
    return lambda script, *args, **options: ended(start(script, *args, **options))


@pytest.fixture
def in_fork() -> Callable[[Callable[[], object]], str]:
    """The `repr` of what a function returns, or raises, in a fork of this process."""

    def answer_of(work: Callable[[], object]) -> str:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                answer = repr(work())
            except BaseException as error:  # noqa: BLE001
                answer = repr(error)
            os.write(writing, answer.encode())
            os._exit(0)
        os.close(writing)
        with open(reading, "rb") as answers:
            if not select.select([answers], [], [], PATIENCE_S)[0]:
                os.kill(pid, signal.SIGKILL)
            text = answers.read().decode()
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"the fork ended with {status}"
        return text

    return answer_of


@pytest.fixture
def left_by() -> Callable[[str], list[str]]:
    """The blocks and temporary directories whose names begin so."""

    def names(prefix: str) -> list[str]:
        places = ("/dev/shm", tempfile.gettempdir())
        return sorted(n for place in places for n in os.listdir(place) if n.startswith(prefix))

    return names


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process puts temporary files, for one test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def at_every_line() -> Callable[..., contextlib.AbstractContextManager[None]]:
    """Do something on this thread before every line of some files' code, where the garbage
    collector could run a `__del__` too."""

    @contextlib.contextmanager
    def interrupted(action: Callable[[], object], *files: str) -> Iterator[None]:
        def is_meant(code: CodeType) -> bool:
            return code.co_filename.endswith(files)

        def trace(frame: FrameType, event: str, _: object) -> object:
            if not is_meant(frame.f_code):
                return None
            if event == "line":
                action()
            return trace

        before = sys.gettrace()
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            yield
        finally:
            sys.settrace(before)

    return interrupted
