"""Long texts are taken out of what a page sends, and are in the command that the kernel gets."""

from __future__ import annotations

import gc
import json
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marimo._runtime.commands import UpdateUIElementCommand
from marimo_backend.uploading import SCOPE, body_of, receiving, uploaded

from mpkernel.errors import MPKernelError
from mpkernel.marimo_backend import spooled
from mpkernel.marimo_backend.server.upload_progress import telling_of_progress
from mpkernel.marimo_backend.server.uploads import LongStrings, taking_out_long_texts, with_uploads
from mpkernel.marimo_backend.spooled import Apart, read_spooled
from shm import AttachedBlock, BlockNotFound, NoSpace, sweep
from shm.names import own_tag

LONG = 8


class Taken:
    """Takes the long strings, and notes them."""

    def __init__(self) -> None:
        self.strings: list[bytes] = []
        self.ended = 0

    def begin(self) -> str:
        self.strings.append(b"")
        return f"<{len(self.strings) - 1}>"

    def take(self, data: bytes) -> None:
        self.strings[-1] += data

    def end(self) -> None:
        self.ended += 1

    def put_back(self, text: bytes) -> bytes:
        for number, string in enumerate(self.strings):
            text = text.replace(b'"<%d>"' % number, b'"%b"' % string, 1)
        return text


texts = st.text(alphabet='ab"\\\n/é\U0001f600:,[]{}', max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@given(values, st.booleans(), st.data())
def test_any_text_in_any_chunks_is_whole_with_its_long_strings(
    value: Any, ascii_only: bool, data: st.DataObject
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    taken = Taken()
    strings = LongStrings(taken, long_bytes=LONG)
    passed, position = b"", 0
    while position < len(text):
        size = data.draw(st.integers(1, LONG))
        passed += strings.feed(text[position : position + size])
        position += size
    passed += strings.end()
    assert taken.put_back(passed) == text
    assert taken.ended == len(taken.strings)
    assert all(len(string) >= LONG for string in taken.strings)
    strings_left = [part for part in json_strings(json.loads(passed)) if part[:1] != "<"]
    assert all(len(json.dumps(part, ensure_ascii=ascii_only)) - 2 < LONG for part in strings_left)


def json_strings(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [string for one in value for string in json_strings(one)]
        case dict():
            return [
                string for pair in value.items() for one in pair for string in json_strings(one)
            ]
    return []


@given(st.binary(max_size=100), st.integers(1, 20))
def test_what_is_no_json_is_passed_on_as_it_is(text: bytes, size: int) -> None:
    text = text.replace(b"<", b"")
    taken = Taken()
    strings = LongStrings(taken, long_bytes=LONG)
    passed = b"".join(strings.feed(text[at : at + size]) for at in range(0, len(text), size))
    passed += strings.end()
    assert passed == text or taken.strings


FILE = [["sales.csv", "QUFB" * 500_000]]


def test_a_file_reaches_the_kernel_and_only_its_places_cross_the_pipe() -> None:
    sent = {"a-0": FILE, "b-0": {"x": FILE, "note": 'é"\\' * 40_000}, "c-0": 1}
    command = uploaded(sent)
    pickled = pickle.dumps(command, pickle.HIGHEST_PROTOCOL)
    assert len(pickled) < 10_000
    assert pickle.loads(pickled).values == list(sent.values())
    assert command.values[2] == 1


@pytest.mark.parametrize("pieces", [1, 30])
def test_places_go_with_the_last_reference_to_the_text(pieces: int) -> None:
    command = uploaded({"a-0": "x" * pieces * 1024 * 1024})
    places = [place for text in command.values[0].texts for _, place, _ in text._pieces]
    assert len(places) >= pieces
    del command
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "mpkernel-uploads":
            thread.join()
    for place in places:
        with pytest.raises(BlockNotFound):
            AttachedBlock(place, 1)
    left = sweep(remove=False).names
    assert not [name for name in left if name.startswith(own_tag().prefix)]


def test_a_program_that_ends_leaves_nothing() -> None:
    program = """
from mpkernel.marimo_backend import spooled
text = spooled.Spooled()
text.append(b"x")
spooled._is_half_free = lambda: False
text.append(b"y")
print(*(place for _, place, _ in text._pieces))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    block, file = ran.stdout.split()
    assert not ran.stderr
    with pytest.raises(BlockNotFound):
        AttachedBlock(block, 1)
    assert not Path(file).parent.exists()


async def test_other_requests_are_left_alone() -> None:
    receive = receiving(b"x")
    elsewhere = {**SCOPE, "path": "/api/kernel/function_call"}
    short = {**SCOPE, "headers": [(b"content-length", b"1000")]}
    for scope in (elsewhere, short):
        assert taking_out_long_texts(scope, receive, max_bytes=1) is receive


async def test_an_upload_that_takes_longer_than_a_second_is_told_of_once_a_second() -> None:
    times = iter([0.0, 0.5, 1.0, 1.7, 2.1, 2.5])
    told: list[str] = []
    scope = {**SCOPE, "headers": [(b"content-length", b"%d" % (6 * 2**20))]}
    receive = receiving(bytes(6 * 2**20), chunk_bytes=2**20)
    await body_of(telling_of_progress(scope, receive, told.append, clock=lambda: next(times)))
    assert told == [
        "1.5 MiB of 4.5 MiB have arrived.",
        "3 MiB of 4.5 MiB have arrived.",
        "",
    ]
    await body_of(telling_of_progress(SCOPE, receiving(b"x"), told.append))
    assert len(told) == 3


async def test_a_page_that_goes_away_in_the_middle_is_marimos_to_notice() -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    assert await taking_out_long_texts(SCOPE, receive, max_bytes=1)() == await receive()


def test_what_a_page_sends_back_of_what_marimo_told_it_is_the_file() -> None:
    first = uploaded({"a-0": FILE})
    (text,) = first.values[0].texts
    again = UpdateUIElementCommand(["b-0"], [{"file": [["sales.csv", text.placeholder]]}])
    value = with_uploads(again).values[0]
    assert isinstance(value, Apart)
    assert value.texts == (text,)
    placeholder = text.placeholder
    del first, again, value, text
    gc.collect()
    with pytest.raises(MPKernelError, match="upload the file again"):
        with_uploads(UpdateUIElementCommand(["b-0"], [placeholder]))


async def test_a_file_arrives_also_when_the_system_gives_no_threads(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    content = "x" * 3_000_000
    body = msgspec.json.encode({"values": {"upload": content}})
    receive = taking_out_long_texts(SCOPE, receiving(body), max_bytes=len(body))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        values = msgspec.json.decode(await body_of(receive))["values"]
    command = with_uploads(UpdateUIElementCommand(list(values), list(values.values())))
    assert pickle.loads(pickle.dumps(command)).values == [content]
    caplog.clear()  # its records have the errors, whose tracebacks have the file
    del command, receive
    gc.collect()


def test_what_is_over_the_bound_is_counted_and_not_kept() -> None:
    (value,) = uploaded({"a-0": FILE}, max_bytes=1_500_000).values
    assert value.size_apart == 2_000_000
    assert value.is_lost
    assert sum(size for text in value.texts for _, _, size in text._pieces) < 1_500_000


def test_where_there_is_no_room_the_file_is_sent_and_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: bytes) -> Any:
        raise NoSpace("everywhere", 1, 0)

    monkeypatch.setattr(spooled, "_written", full)
    command = uploaded({"a-0": FILE})
    assert command.values[0].is_lost
    assert pickle.loads(pickle.dumps(command)).values == [FILE]


@pytest.mark.parametrize("content", [b"\\x", b"\xff", b'a" "b', b"\n"])
def test_what_is_no_text_is_none_in_the_kernel(content: bytes) -> None:
    assert read_spooled([("memory", content, len(content))]) is None


async def test_a_body_that_ends_inside_a_string_is_marimos_to_refuse() -> None:
    receive = taking_out_long_texts(SCOPE, receiving(b'{"a": "bc\\'), max_bytes=1 << 20)
    body = await body_of(receive)
    assert body == b'{"a": "bc\\'
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body)
