"""What hosts write to descriptors 1 and 2: the server reads it, writes it to its own descriptors,
and sends it back."""

from __future__ import annotations

import gc
import io
import os
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE_S

from mpkernel.server.links.console_relay import ConsoleRelay, OnText
from mpkernel.server.links.host_console import HostConsole
from mpkernel.wire.bounds import LEAST_FRAME_BYTES
from mpkernel.wire.frames import Channel
from mpkernel.wire.messages import ConsoleText, decode_down, encode


class ALink:
    """What was sent, and a backlog that a test sets."""

    def __init__(self) -> None:
        self.sent: list[ConsoleText] = []
        self.backlog_bytes = 0
        self.error: Exception | None = None

    def send(self, channel: Channel, session: int, payload: bytes) -> None:
        if self.error is not None:
            raise self.error
        assert (channel, session) == (Channel.MANAGEMENT, 0)
        message = decode_down(payload)
        assert isinstance(message, ConsoleText)
        self.sent.append(message)

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.sent]


@pytest.fixture
def link() -> Any:
    return ALink()


@pytest.fixture
def console(link: Any) -> HostConsole:
    return HostConsole("app.py", link)


def test_nothing_is_sent_to_a_host_that_does_not_want_it(link: ALink, console: HostConsole) -> None:
    console.on_text("stdout", "text", 1.0)
    assert link.sent == []


def test_what_came_before_the_wish_is_sent_with_it(link: ALink, console: HostConsole) -> None:
    console.on_text("stdout", "before", 1.0)
    console.want()
    console.on_text("stderr", "after", 2.0)
    assert link.sent == [ConsoleText("stdout", "before", 1.0), ConsoleText("stderr", "after", 2.0)]


@pytest.mark.parametrize(("size", "count"), [(1, 10_000), (30_000, 100)])
def test_only_the_last_is_kept_for_a_wish(
    link: ALink, console: HostConsole, size: int, count: int
) -> None:
    for number in range(count):
        console.on_text("stdout", "x" * size, float(number))
    console.want()
    assert link.sent[-1].read_at_s == count - 1
    assert len(link.sent) <= 100
    assert sum(map(len, link.texts)) <= 64 * 1024


def test_a_host_that_is_behind_is_told_once_that_text_is_missing(
    link: ALink, console: HostConsole, caplog: pytest.LogCaptureFixture
) -> None:
    console.want()
    for backlog_bytes, text in (
        (1_000_000, "taken"),
        (2_000_000, "missing"),
        (2_000_000, "missing"),
        (1_000, "missing"),
        (0, "taken again"),
    ):
        link.backlog_bytes = backlog_bytes
        console.on_text("stdout", text, 1.0)
    first, told, last = link.texts
    assert (first, last) == ("taken", "taken again")
    assert "what is missing here is in the server's log" in told
    assert len(caplog.records) == 1


def test_a_long_text_is_sent_in_pieces(link: ALink, console: HostConsole) -> None:
    console.want()
    text = "日" * 65_536  # what bytes of no encoding are replaced with takes as much room
    console.on_text("stdout", text, 1.0)
    assert "".join(link.texts) == text
    assert all(len(encode(message)) <= LEAST_FRAME_BYTES for message in link.sent)


def test_a_text_does_no_harm_when_the_loop_is_closed(link: ALink, console: HostConsole) -> None:
    console.want()
    link.error = RuntimeError("loop is closed")
    console.on_text("stdout", "text", 1.0)


class ARelay:
    """A host of a relay, one of its own by default; the test writes to its descriptors."""

    def __init__(
        self,
        *,
        forward: bool,
        relay: ConsoleRelay | None = None,
        on_text: OnText | None = None,
    ) -> None:
        self.texts: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.relay = ConsoleRelay(forward=forward) if relay is None else relay
        pipes = [os.pipe() for _ in range(3)]
        self.reads, self.writes = zip(*pipes, strict=True)
        self.tail = self.relay.add(
            "app.py",
            app="/app.py",
            pid=os.getpid(),
            stdout=self.reads[0],
            stderr=self.reads[1],
            faults=self.reads[2],
            on_text=on_text or (lambda stream, text, _: self.texts.put((stream, text))),
            on_end=lambda: None,
        )

    def end(self) -> None:
        """Close what is written to; wait until all is relayed; close the rest. Idempotent."""
        for fd in self.writes:
            os.close(fd)
        self.writes = ()
        assert self.tail.ended.wait(PATIENCE_S)
        for fd in self.reads:
            os.close(fd)
        self.reads = ()

    def close(self) -> None:
        self.end()
        self.relay.close()
        self.relay.join(PATIENCE_S)


@pytest.fixture
def relay() -> Iterator[ARelay]:
    relay = ARelay(forward=True)
    yield relay
    relay.close()


def test_an_exception_for_one_host_leaves_the_others_relayed(
    relay: ARelay, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no such console")

    pipes = [os.pipe() for _ in range(3)]
    reads, writes = zip(*pipes, strict=True)
    tail = relay.relay.add(
        "broken.py",
        app="/broken.py",
        pid=os.getpid(),
        stdout=reads[0],
        stderr=reads[1],
        faults=reads[2],
        on_text=failing,
        on_end=failing,
    )
    os.write(writes[0], b"lost\n")
    for fd in writes:
        os.close(fd)
    assert tail.ended.wait(PATIENCE_S)
    os.write(relay.writes[0], b"relayed")
    assert relay.texts.get(timeout=PATIENCE_S) == ("stdout", "relayed")
    assert "console output of broken.py is lost for now" in caplog.text
    assert "the end of the console of broken.py was not handled" in caplog.text
    for fd in reads:
        os.close(fd)


def test_a_console_that_fails_is_logged_once_and_once_when_it_is_well_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handled = threading.Semaphore(0)

    def on_text(_: str, text: str, __: float) -> None:
        handled.release()
        if text != "well":
            raise RuntimeError("no such console")

    relay = ARelay(forward=False, on_text=on_text)
    for text in (b"ill", b"ill", b"ill", b"well", b"well"):
        os.write(relay.writes[0], text)
        assert handled.acquire(timeout=PATIENCE_S)
    relay.close()
    assert [record.getMessage() for record in caplog.records] == [
        "console output of app.py is lost for now",
        "console output of app.py is relayed again",
    ]


def a_selector_of(relay: ConsoleRelay) -> int:
    """The descriptor that the relay's thread waits with."""
    selector: Any = relay._selector
    descriptor: int = selector.fileno()
    return descriptor


@pytest.mark.skipif(sys.platform != "linux", reason="the selector of Linux has a descriptor")
def test_a_selector_whose_descriptor_is_closed_ends_no_console(
    relay: ARelay, caplog: pytest.LogCaptureFixture
) -> None:
    os.write(relay.writes[0], b"before")
    assert relay.texts.get(timeout=PATIENCE_S) == ("stdout", "before")
    os.close(a_selector_of(relay.relay))
    os.write(relay.writes[0], b"1")  # wakes one that waits, which Linux lets go on until then
    other = ARelay(forward=False, relay=relay.relay)
    for one in (relay, other):
        os.write(one.writes[1], b"after")
        while one.texts.get(timeout=PATIENCE_S) != ("stderr", "after"):
            continue
    other.end()
    assert caplog.text.count("the consoles of all apps could not be waited for") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the selector of Linux has a descriptor")
def test_a_console_that_comes_while_the_selector_is_closed_is_relayed_too() -> None:
    is_handling, may_go_on = threading.Event(), threading.Event()
    texts: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def on_text(stream: str, text: str, _: float) -> None:
        is_handling.set()
        may_go_on.wait(PATIENCE_S)
        texts.put((stream, text))

    first = ARelay(forward=False, on_text=on_text)
    os.write(first.writes[0], b"before")
    assert is_handling.wait(PATIENCE_S)
    number = a_selector_of(first.relay)
    os.close(number)
    with open(os.devnull, "rb") as somebody_s_own:
        assert somebody_s_own.fileno() == number
        other = ARelay(forward=False, relay=first.relay)
        may_go_on.set()
        os.write(first.writes[1], b"after")
        os.write(other.writes[1], b"after")
        assert other.texts.get(timeout=PATIENCE_S) == ("stderr", "after")
        assert [texts.get(timeout=PATIENCE_S) for _ in range(2)] == [
            ("stdout", "before"),
            ("stderr", "after"),
        ]
        other.end()
        first.close()
        del first, other
        gc.collect()
        os.fstat(number)  # still open: it was not the relay's to close


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux refuses to wait for a file")
def test_a_console_that_cannot_be_read_ends_alone(
    relay: ARelay, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    no_pipe = os.open(tmp_path / "file", os.O_CREAT | os.O_RDONLY)
    (stdout, _), (stderr, _) = pipes = [os.pipe() for _ in range(2)]
    ended = threading.Event()
    tail = relay.relay.add(
        "broken.py",
        app="/broken.py",
        pid=os.getpid(),
        stdout=stdout,
        stderr=stderr,
        faults=no_pipe,
        on_text=lambda *_: None,
        on_end=ended.set,
    )
    for _, write in pipes:
        os.close(write)
    assert tail.ended.wait(PATIENCE_S)
    assert ended.wait(PATIENCE_S)
    os.write(relay.writes[0], b"relayed")
    assert relay.texts.get(timeout=PATIENCE_S) == ("stdout", "relayed")
    assert "the console of broken.py cannot be read" in caplog.text
    for fd in (stdout, stderr, no_pipe):
        os.close(fd)


@pytest.mark.skipif(sys.platform != "linux", reason="the selector of Linux forgets what is closed")
def test_a_console_that_somebody_closed_leaves_the_next_one_of_its_number_relayed(
    relay: ARelay,
) -> None:
    lost = ARelay(forward=False, relay=relay.relay)
    os.write(lost.writes[2], b"registered")
    os.write(lost.writes[0], b"registered")
    assert lost.texts.get(timeout=PATIENCE_S) == ("stdout", "registered")
    for fd in (*lost.reads, *lost.writes):
        os.close(fd)
    other = ARelay(forward=False, relay=relay.relay)
    assert set(other.reads) & set(lost.reads)
    for number, stream in enumerate(("stdout", "stderr")):
        os.write(other.writes[number], b"relayed")
        assert other.texts.get(timeout=PATIENCE_S) == (stream, "relayed")
    other.end()


def test_text_is_handed_on_before_its_line_ends(relay: ARelay) -> None:
    os.write(relay.writes[0], b"Really? ")
    assert relay.texts.get(timeout=PATIENCE_S) == ("stdout", "Really? ")
    os.write(relay.writes[1], b"oh\n")
    assert relay.texts.get(timeout=PATIENCE_S) == ("stderr", "oh\n")


def test_a_character_in_two_reads_stays_whole(relay: ARelay) -> None:
    os.write(relay.writes[0], b"caf\xc3")
    assert relay.texts.get(timeout=PATIENCE_S) == ("stdout", "caf")
    os.write(relay.writes[0], b"\xa9 \xff\n")
    assert relay.texts.get(timeout=PATIENCE_S) == ("stdout", "é \\xff\n")
    relay.end()
    assert relay.tail.lines() == ["café \\xff"]


def test_half_a_character_at_the_end_is_shown_as_bytes(relay: ARelay) -> None:
    os.write(relay.writes[0], b"caf\xc3")
    relay.end()
    assert relay.tail.lines() == ["caf\\xc3"]


def test_what_faulthandler_writes_is_handed_to_nobody(relay: ARelay) -> None:
    os.write(relay.writes[2], b"Fatal Python error\n")
    relay.end()
    assert relay.texts.empty()


def test_every_line_gets_the_apps_name(relay: ARelay, capfd: pytest.CaptureFixture[str]) -> None:
    os.write(relay.writes[0], b"one\n\ntwo\nand no end")
    os.write(relay.writes[1], b"oh\n")
    relay.end()
    captured = capfd.readouterr()
    assert captured.out == "[app.py] one\n[app.py] \n[app.py] two\n[app.py] and no end\n"
    assert captured.err == "[app.py] oh\n"


def test_the_last_lines_are_kept(relay: ARelay) -> None:
    lines = [str(number) for number in range(1000)]
    os.write(relay.writes[0], "\n".join(lines).encode())
    relay.end()
    assert relay.tail.lines() == lines[-40:]


def test_a_character_that_the_servers_console_has_not_costs_that_one_only(
    relay: ARelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "__stdout__", io.TextIOWrapper(written, encoding="ascii"))
    os.write(relay.writes[0], "one\nçédille\ntwo\n".encode())
    relay.end()
    assert written.getvalue() == (b"[app.py] one\n[app.py] \\xe7\\xe9dille\n[app.py] two\n")
