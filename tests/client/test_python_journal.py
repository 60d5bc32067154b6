"""The journal of the embedded kernel's sessions: what is restored after which death."""

from __future__ import annotations

import copy
import random
from datetime import UTC, datetime

import msgspec
import pytest

from mpkernel.client import python_kernel
from mpkernel.client.python_journal import PythonJournal
from mpkernel.errors import ProtocolError
from mpkernel.kernel.messages import (
    Command,
    Execute,
    Interrupt,
    RunApp,
    SetValues,
    decode_command,
)
from mpkernel.wire.frames import Channel


class Played(PythonJournal):
    """A journal, and the commands that its kernel would get."""

    def __init__(self, *, max_bytes: int = 10_000) -> None:
        super().__init__(python_kernel(), max_bytes=max_bytes)

    def send(self, *commands: Command) -> None:
        for command in commands:
            self.sent(Channel.CONTROL, command)

    def replayed(self, *, guilty: bool = False) -> list[Command]:
        rebuilt = self.rebuild(without_running=guilty)
        return [decode_command(message.payload) for message in rebuilt.messages]


def test_a_session_that_did_nothing_comes_back_so() -> None:
    assert Played().replayed() == []


def test_the_run_and_the_last_values_come_back() -> None:
    journal = Played()
    journal.send(RunApp(), SetValues({"a": 1, "b": 1}), SetValues({"a": 2}))
    journal.progressed(3, 3)
    assert journal.replayed() == [RunApp(), SetValues({"b": 1, "a": 2})]


def test_values_that_were_set_before_the_run_are_set_before_it_again() -> None:
    journal = Played()
    journal.send(SetValues({"a": 1, "b": 1}), RunApp(), SetValues({"b": 2}))
    journal.progressed(3, 3)
    assert journal.replayed() == [SetValues({"a": 1}), RunApp(), SetValues({"b": 2})]


def test_a_kernel_that_claims_more_than_was_sent_is_not_believed() -> None:
    journal = Played()
    journal.send(RunApp())
    with pytest.raises(ProtocolError):
        journal.progressed(2**40, 2**40)
    assert journal.replayed() == [RunApp()]


def test_what_had_not_begun_comes_back_too() -> None:
    journal = Played()
    journal.send(RunApp(), SetValues({"a": 1}), Execute("x", "cell"), SetValues({"a": 2}))
    journal.progressed(1, 0)
    assert journal.replayed() == [RunApp(), SetValues({"a": 2}), Execute("x", "cell")]


def test_code_that_had_begun_is_not_run_again() -> None:
    journal = Played()
    journal.send(RunApp(), Execute("x", "cell"))
    journal.progressed(2, 1)
    rebuilt = journal.rebuild(without_running=False)
    assert [decode_command(message.payload) for message in rebuilt.messages] == [RunApp()]
    assert "executed outside" in rebuilt.lost[0]


def test_the_guilty_command_is_left_out() -> None:
    journal = Played()
    journal.send(RunApp(), SetValues({"a": 1}), SetValues({"a": 99}))
    journal.progressed(3, 2)
    assert journal.replayed(guilty=True) == [RunApp(), SetValues({"a": 1})]


def test_a_suspect_value_is_left_out_when_bringing_it_back_ends_the_process_again() -> None:
    journal = Played()
    journal.send(RunApp(), SetValues({"a": 1}), SetValues({"a": 99}))
    journal.progressed(3, 2)
    assert journal.replayed() == [RunApp(), SetValues({"a": 99})]
    journal.progressed(2, 1)
    assert journal.replayed() == [RunApp(), SetValues({"a": 99})]  # somebody else's fault
    journal.progressed(2, 1)
    assert journal.replayed(guilty=True) == [RunApp(), SetValues({"a": 1})]


def test_what_came_back_counts_as_done_once_it_ran() -> None:
    journal = Played()
    journal.send(RunApp(), SetValues({"a": 1}))
    journal.progressed(2, 1)
    journal.replayed()
    journal.progressed(2, 2)
    journal.send(SetValues({"a": 99}))
    journal.progressed(3, 2)
    assert journal.replayed(guilty=True) == [RunApp(), SetValues({"a": 1})]


def test_the_largest_values_go_when_there_are_too_many_bytes() -> None:
    journal = Played(max_bytes=300)
    journal.send(SetValues({"small": 1, "large": "x" * 200}), SetValues({"other": "y" * 20}))
    journal.progressed(2, 2)
    rebuilt = journal.rebuild(without_running=False)
    assert decode_command(rebuilt.messages[0].payload) == SetValues({"small": 1, "other": "y" * 20})
    assert rebuilt.lost == ("the value of large, which is too large",)


def test_what_waits_for_a_process_has_room_up_to_the_bound_whatever_it_is() -> None:
    for command in (SetValues({"a": "x" * 100}), Execute("x" * 100, "cell"), RunApp()):
        journal = Played(max_bytes=1000)
        sent = 0
        while journal.has_room(Channel.CONTROL, command):
            journal.send(command)
            sent += 1
        assert 3 <= sent <= 1000 // 64


def test_there_is_room_again_when_the_kernel_has_done_what_waited() -> None:
    journal = Played(max_bytes=1000)
    command = Execute("x" * 800, "cell")
    journal.send(command)
    assert not journal.has_room(Channel.CONTROL, command)
    assert journal.replayed() == [command]
    assert not journal.has_room(Channel.CONTROL, command)
    journal.progressed(1, 1)
    assert journal.has_room(Channel.CONTROL, command)


def test_what_is_never_kept_needs_no_room() -> None:
    journal = Played(max_bytes=0)
    assert journal.has_room(Channel.CONTROL, Interrupt())
    assert not journal.has_room(Channel.CONTROL, RunApp())


def test_names_count_as_well_as_their_values_and_few_are_listed() -> None:
    journal = Played(max_bytes=10_000)
    journal.send(SetValues({f"name_{number}": None for number in range(5_000)}))
    journal.progressed(1, 1)
    rebuilt = journal.rebuild(without_running=False)
    (command,) = (decode_command(message.payload) for message in rebuilt.messages)
    assert isinstance(command, SetValues)
    assert 50 < len(command.values) < 200
    assert len(rebuilt.lost) < 200
    assert "more names" in rebuilt.lost[-1]


def loaded_from(journal: Played) -> Played:
    other = Played()
    other.load(journal.kept())
    return other


def play_at_random(journal: Played, chance: random.Random) -> None:
    """What sessions go through, in any order."""
    sent = begun = done = 0
    for _ in range(chance.randrange(30)):
        match chance.randrange(6):
            case 0:
                journal.send(RunApp())
                sent += 1
            case 1:
                size = chance.choice([1, 10, 3000])
                journal.send(SetValues({chance.choice("abcdef"): "x" * size}))
                sent += 1
            case 2:
                journal.send(Execute("1 / 0", chance.choice("ab")))
                sent += 1
            case 3 | 4:
                begun = chance.randint(begun, sent)
                done = chance.randint(max(done, begun - 1), begun) if begun else 0
                journal.progressed(begun, done)
            case 5 if chance.random() < 0.3:
                sent = len(journal.replayed(guilty=chance.random() < 0.5))
                begun = done = 0


@pytest.mark.parametrize("guilty", [False, True])
@pytest.mark.parametrize("seed", range(100))
def test_a_journal_that_was_kept_and_loaded_brings_the_same_back(seed: int, guilty: bool) -> None:
    journal = Played()
    play_at_random(journal, random.Random(seed))
    loaded = loaded_from(journal)
    as_it_was = copy.deepcopy(journal)
    rebuilt = [one.rebuild(without_running=guilty) for one in (loaded, as_it_was)]
    said = [[decode_command(message.payload) for message in one.messages] for one in rebuilt]
    assert said[0] == said[1]
    assert rebuilt[0]._replace(messages=[]) == rebuilt[1]._replace(messages=[])
    for one in (loaded, as_it_was):
        one.send(SetValues({"later": 1}))
        one.progressed(1, 0)
    assert loaded.replayed(guilty=guilty) == as_it_was.replayed(guilty=guilty)


def test_values_of_any_kind_that_a_kernel_can_be_sent_are_kept() -> None:
    journal = Played()
    values = {"at": datetime(2026, 1, 1, tzinfo=UTC), "raw": b"\xff", "deep": [{"a": [None, 1.5]}]}
    journal.send(RunApp(), SetValues(values))
    assert loaded_from(journal).replayed() == [RunApp(), SetValues(values)]


def test_a_journal_with_less_room_takes_over_what_it_has_room_for() -> None:
    journal = Played()
    journal.send(RunApp(), SetValues({"small": 1, "large": "x" * 5000}))
    journal.progressed(2, 2)
    smaller = Played(max_bytes=1000)
    smaller.load(journal.kept())
    rebuilt = smaller.rebuild(without_running=False)
    assert decode_command(rebuilt.messages[1].payload) == SetValues({"small": 1})
    assert rebuilt.lost == ("the value of large, which is too large",)


@pytest.mark.parametrize(
    "kept",
    [b"", b"\xc1", msgspec.msgpack.encode({"type": "mpkernel-python-journal-0"})],
    ids=["nothing", "no msgpack", "another version"],
)
def test_what_no_journal_keeps_is_refused_and_nothing_of_it_taken_over(kept: bytes) -> None:
    journal = Played()
    with pytest.raises(ProtocolError, match="open the session as a new one"):
        journal.load(kept)
    assert journal.replayed() == []


def test_what_is_cut_off_is_refused() -> None:
    journal = Played()
    journal.send(RunApp(), SetValues({"n": 1}))
    kept = journal.kept()
    for size in range(len(kept)):
        with pytest.raises(ProtocolError):
            Played().load(kept[:size])
