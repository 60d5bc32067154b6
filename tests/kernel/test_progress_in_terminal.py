"""Progress where no client is: a line in the terminal."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import termios
import tty
from collections.abc import Iterator

import pytest
from clocks import Clock
from kernel.finders import found_by

from mpkernel.kernel.messages import Progress
from mpkernel.kernel.progress import progress_bar, spinner
from mpkernel.kernel.shown.terminal import progress_line


@pytest.fixture
def nowhere() -> Iterator[None]:
    with found_by(lambda: None):
        yield


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Terminal:
    """A real terminal, 60 columns wide."""

    def __init__(self) -> None:
        self._reading, writing = os.openpty()
        tty.setraw(writing)
        termios.tcsetwinsize(writing, (24, 60))
        self._stream = open(writing, "w", encoding="utf-8")

    @contextlib.contextmanager
    def as_stderr(self) -> Iterator[None]:
        """For the test itself: pytest changes `sys.stderr` after the fixtures."""
        before, sys.stderr = sys.stderr, self._stream
        try:
            yield
        finally:
            sys.stderr = before

    def drawn(self) -> str:
        """All that was written to the terminal. It is closed then."""
        self._stream.close()
        data = b""
        try:
            while part := os.read(self._reading, 65536):
                data += part
        except OSError:  # nobody writes any more
            pass
        return data.decode()

    def hang_up(self) -> None:
        """Close the end of the terminal that a user would look at."""
        if self._reading >= 0:
            os.close(self._reading)
            self._reading = -1

    def close(self) -> None:
        self.hang_up()
        with contextlib.suppress(OSError):  # what is left in it cannot be written
            self._stream.close()


@pytest.fixture
def terminal(nowhere: None) -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def lines_of(drawn: str) -> list[str]:
    """What stood in the terminal's last line, one after another."""
    assert drawn.startswith("\r\x1b[K")
    return drawn.removeprefix("\r\x1b[K").split("\r\x1b[K")


def test_a_terminal_shows_a_bar_in_one_line(terminal: Terminal, clock: Clock) -> None:
    with terminal.as_stderr():
        for _ in progress_bar(range(4), title="Work", subtitle="it is", clock=clock):
            clock.now_s += 1
    lines = lines_of(terminal.drawn())
    assert lines[0] == f"Work  [{'-' * 24}] 0/4  it is"
    assert lines[2] == f"Work  [{'#' * 12}{'-' * 12}] 2/4  1/s  eta 0:02  it is"
    assert lines[-1] == f"Work  [{'#' * 24}] 4/4  1/s  in 0:04  it is\n"
    assert all("\n" not in line for line in lines[:-1])


def test_a_terminals_line_is_never_broken(terminal: Terminal) -> None:
    with terminal.as_stderr(), progress_bar(total=0, title="a\nb\x1b[2J" + "long " * 50):
        pass
    lines = lines_of(terminal.drawn())
    assert lines[0].startswith("a b [2Jlong")
    assert [len(line.rstrip("\n")) for line in lines] == [59, 59]


def test_a_terminal_draws_a_spinner_and_takes_it_away(terminal: Terminal) -> None:
    with terminal.as_stderr(), spinner("Loading", "from disk"):
        pass
    assert lines_of(terminal.drawn()) == ["Loading  from disk", ""]


def test_a_terminal_that_goes_away_ends_no_loop(terminal: Terminal, clock: Clock) -> None:
    looped = []
    with terminal.as_stderr():
        for item in progress_bar([1, 2, 3], clock=clock):
            clock.now_s += 1
            terminal.hang_up()
            looped.append(item)
    assert looped == [1, 2, 3]


@pytest.mark.usefixtures("nowhere")
def test_without_a_terminal_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    text = io.StringIO()
    for stream in (text, None, closed):
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(progress_bar([1, 2])) == [1, 2]
        with spinner("Loading"):
            pass
    assert text.getvalue() == ""


class _Teed:
    """What apps put in the place of `sys.stderr`: it can write, and little else."""

    def __init__(self, *, is_terminal: bool) -> None:
        self.text = ""
        if is_terminal:
            self.isatty = lambda: True

    def write(self, text: str) -> int:
        self.text += text
        return len(text)


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_stream_that_lacks_methods_ends_no_loop(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", _Teed(is_terminal=is_terminal))
    assert list(progress_bar([1, 2])) == [1, 2]


@pytest.mark.usefixtures("nowhere")
def test_a_terminal_that_cannot_go_back_in_a_line_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with terminal.as_stderr():
        assert list(progress_bar([1, 2])) == [1, 2]
    assert terminal.drawn() == ""


def test_a_line_of_wide_characters_takes_no_more_columns_than_there_are() -> None:
    message = Progress("1", "cell", "読み込み中", "", 0, None, None, None, 0, done=False)
    assert progress_line(message, 10) == "読み込み中"
    assert progress_line(message, 9) == "読み込み"
    assert progress_line(message, 0) == ""


def test_a_line_is_made_of_what_is_known() -> None:
    message = Progress("1", "cell", "", "", 7, None, 3.5, None, 3700, done=True)
    assert progress_line(message, 80) == "7  3.5/s  in 1:01:40"
    assert progress_line(message, 4) == "7  3"
