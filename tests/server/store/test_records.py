"""The format of a stored session: what was written is read, and what is damaged gives an earlier
content of the same session, or nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpkernel.server.store.records import About, Records, UnknownVersion, content_of

HEAD_BYTES = 18
ABOUT = About("a" * 40, "/app.py", 1.5)
CONTENTS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.lists(st.sampled_from([b"slider", b"text", b"\0", b"1"]), max_size=8).map(b"".join),
    ),
    min_size=1,
    max_size=8,
)


def file_of(contents: list[bytes], about: About = ABOUT) -> bytes:
    records = Records()
    file = records.beginning(about, contents[0])
    return file + b"".join(records.change(content) for content in contents[1:])


@given(CONTENTS)
def test_the_last_content_is_read(contents: list[bytes]) -> None:
    assert content_of(file_of(contents)) == (ABOUT, contents[-1])


@given(CONTENTS, st.data())
def test_a_torn_tail_is_cut(contents: list[bytes], data: st.DataObject) -> None:
    file = file_of(contents)
    torn = file[: data.draw(st.integers(HEAD_BYTES, len(file)))]
    for rest in (b"", b"\0" * 50, b"\xff" * 50):
        found = content_of(torn + rest)
        assert found is None or (found[0] == ABOUT and found[1] in contents)


def test_a_change_writes_only_what_is_different() -> None:
    before = os.urandom(100_000)
    records = Records()
    records.beginning(ABOUT, before)
    assert len(records.change(before[:70_000] + b"new" + before[70_003:])) < 50
    assert records.content[70_000:70_003] == b"new"


def test_another_version_is_said_to_be_one() -> None:
    file = bytearray(file_of([b"x"]))
    file[16] = 2
    with pytest.raises(UnknownVersion):
        content_of(bytes(file))


@given(CONTENTS, CONTENTS, st.data())
def test_records_of_two_files_make_no_file(
    contents: list[bytes], others: list[bytes], data: st.DataObject
) -> None:
    file, other = file_of(contents), file_of(others, About("b" * 40, "/other.py", 2.5))
    cut = data.draw(st.integers(HEAD_BYTES + 1, len(file)))
    found = content_of(file[:cut] + other[data.draw(st.integers(HEAD_BYTES, len(other))) :])
    assert found is None or (found[0] == ABOUT and found[1] in contents)


ROUNDS = int(os.environ.get("MPKERNEL_TEST_STORE_ROUNDS", "20000"))


def test_no_damage_gives_an_exception_or_other_values() -> None:
    contents = [b"", b"slider=1", b"slider=2", b"slider=2 text=" + bytes(range(200))]
    file = file_of(contents)
    for damaged in chain(truncated(file), flipped(file), changed(file, ROUNDS)):
        try:
            found = content_of(damaged)
        except UnknownVersion:
            assert damaged[16:18] != file[16:18]
            continue
        assert found is None or (found[0] == ABOUT and found[1] in contents)


def truncated(file: bytes) -> Iterator[bytes]:
    """At each byte."""
    for length in range(len(file)):
        yield file[:length]


def flipped(file: bytes) -> Iterator[bytes]:
    """Each bit."""
    for position in range(len(file)):
        for bit in range(8):
            one = bytearray(file)
            one[position] ^= 1 << bit
            yield bytes(one)


def changed(file: bytes, rounds: int) -> Iterator[bytes]:
    """In several places at once."""
    chance = random.Random(19)
    for _ in range(rounds):
        one = bytearray(file)
        for _ in range(chance.randint(1, 4)):
            match chance.randint(0, 3):
                case 0:
                    one[chance.randrange(len(one))] = chance.randrange(256)
                case 1:
                    del one[chance.randrange(len(one)) :]
                case 2:
                    start = chance.randrange(len(one))
                    one[start:start] = one[chance.randrange(len(one)) :][: chance.randint(1, 60)]
                case 3:
                    start = chance.randrange(len(one))
                    del one[start : start + chance.randint(1, 60)]
            if not one:
                one = bytearray(b"\0")
        yield bytes(one)
