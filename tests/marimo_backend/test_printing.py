"""What cells print: all of it, in its order, in messages of marimo's own kind."""

from __future__ import annotations

import gc
import itertools
import json
import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from marimo._messaging.streams import (
    QueuePipe,
    ThreadSafeStderr,
    ThreadSafeStdout,
    ThreadSafeStream,
)

from mpkernel.marimo_backend.host.console_proxy import CellStream
from mpkernel.marimo_backend.host.printing import Prints


class Console:
    """The console of one of marimo's kernels."""

    def __init__(self) -> None:
        self._sent: queue.Queue[Any] = queue.Queue()
        self.stream = ThreadSafeStream(
            QueuePipe(self._sent),
            input_queue=queue.Queue(),
            redirect_console=True,
            cell_id="cell",
        )
        self.prints = Prints()
        self.out, self.err = (
            CellStream(kind(self.stream, forward_os_streams=False), name, self.prints)
            for kind, name in ((ThreadSafeStdout, "stdout"), (ThreadSafeStderr, "stderr"))
        )

    def end(self) -> list[tuple[str, str]]:
        """All that was sent: the name of the stream, and the text; neighbours of one stream are
        joined."""
        self.stream.flush_console()
        self.stream.stop()
        sent = []
        while not self._sent.empty():
            console = json.loads(self._sent.get())["console"]
            sent.append((console["channel"], console["data"]))
        return [
            (name, "".join(text for _, text in group))
            for name, group in itertools.groupby(sent, key=lambda one: one[0])
        ]


@pytest.fixture
def console() -> Iterator[Console]:
    console = Console()
    yield console
    console.stream.stop()


def test_each_text_is_sent_once_and_in_its_order(console: Console):
    lines = [f"line {number}" for number in range(50_000)]
    for line in lines:
        print(line, file=console.out)  # type: ignore[call-overload]
        if line.endswith("777"):
            console.out.flush()
    assert console.end() == [("stdout", "".join(f"{line}\n" for line in lines))]


def test_the_two_streams_stay_in_their_order(console: Console):
    for number in range(100):
        console.out.write(f"out {number}, ")
        console.err.write(f"err {number}, ")
    expected = [
        (f"std{name}", f"{name} {number}, ") for number in range(100) for name in ("out", "err")
    ]
    assert console.end() == expected


def test_what_marimo_writes_itself_stays_where_it_was(console: Console):
    console.out.write("before ")
    console.err.inner.write("marimo's ")
    console.out.write("after")
    assert console.end() == [("stdout", "before "), ("stderr", "marimo's "), ("stdout", "after")]


def count(stream: CellStream, name: str) -> None:
    for number in range(3000):
        stream.write(f"{name}{number} ")


def test_threads_lose_nothing_while_others_print(console: Console):
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        writers = [
            threading.Thread(target=count, args=(console.out.for_thread(), name)) for name in "abcd"
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    finally:
        sys.setswitchinterval(switching)
    [(_, text)] = console.end()
    words = text.split()
    for name in "abcd":
        own = [word for word in words if word.startswith(name)]
        assert own == [f"{name}{number}" for number in range(3000)]


def test_a_copy_may_be_collected_while_marimos_thread_holds_its_lock(console: Console):
    for copy in (console.out.for_thread(), console.out.for_thread().for_thread()):
        copy.write("said ")
        copy.itself = copy  # type: ignore[attr-defined]
    del copy
    with console.stream.console_msg_cv:
        gc.collect()
    assert console.end() == [("stdout", "said said ")]


def test_a_text_that_marimo_would_cut_is_cut(console: Console):
    console.out.write("short ")
    console.out.write("x" * 2_000_000)
    [(_, text)] = [one for one in console.end() if one[0] == "stdout"]
    assert text.startswith("short xxx")
    assert text.endswith(" ... ")


def test_only_text_can_be_printed(console: Console):
    console.out.write("a text ")
    with pytest.raises(TypeError, match="must be a str, not bytes"):
        console.out.write(b"bytes")  # type: ignore[arg-type]
    assert console.end() == [("stdout", "a text ")]
