"""A marimo session's journal that was written for another server, and loaded there."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from marimo._runtime.commands import (
    ExecuteCellsCommand,
    HTTPRequest,
    InvokeFunctionCommand,
    ModelCommand,
    ModelCustomMessage,
    ModelUpdateMessage,
    UpdateUIElementCommand,
    UpdateUserConfigCommand,
)
from marimo_backend.test_marimo_journal import REQUEST, Sender, commands_of, restored
from marimo_backend.uploading import uploaded

from mpkernel.errors import ProtocolError
from mpkernel.marimo_backend.crossing import WidgetShown
from mpkernel.marimo_backend.server.marimo_journal import MarimoJournal
from mpkernel.server.sessions.journal import Rebuilt
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel

OF_THE_REQUEST = "what the app was told of the page's HTTP request"


def new_journal() -> MarimoJournal:
    arguments = {"of": "another server"}
    return MarimoJournal(KernelSpec(entry="x:y"), arguments, max_bytes=1 << 20)


def loaded_from(sender: Sender) -> MarimoJournal:
    journal = new_journal()
    journal.load(sender.journal.kept())
    return journal


def model(state: dict[str, Any], **buffers: bytes) -> ModelCommand:
    paths: list[list[str | int]] = [[name, 0] for name in buffers]
    return ModelCommand("model", ModelUpdateMessage(state, paths), list(buffers.values()))


def of_somebody() -> HTTPRequest:
    return dataclasses.replace(REQUEST, cookies={"token": "secret"})


def play_values(sender: Sender) -> None:
    sender.set(a_0=1, b_0={"x": [None, 1.5, "y"]})
    sender.done()
    sender.set(a_0=2)
    sender.set(c_0=7)
    sender.begin()


def play_widgets(sender: Sender) -> None:
    sender.journal.received(msgspec.json.encode(WidgetShown("model", "Hbol-0")))
    sender.send(model({"x": 1, "y": {"z": None}}, data=b"\xff\x00"))
    sender.done()
    sender.send(model({"x": 2}, more=b"1"))
    sender.send(ModelCommand("model", ModelCustomMessage({"click": True}), [b"2"]))


def play_commands(sender: Sender) -> None:
    for call in ("runs", "waits"):
        sender.send(InvokeFunctionCommand(call, "ns", "f", {"a": [1]}))
    sender.send(UpdateUserConfigCommand({"theme": "dark"}))  # type: ignore[typeddict-item]
    sender.send(ExecuteCellsCommand(cell_ids=["Hbol"], codes=["2"]))  # type: ignore[list-item]
    sender.begin()


def play_a_restart(sender: Sender) -> None:
    sender.set(a_0=1)
    sender.done()
    sender.set(a_0=2)
    sender.rebuild()
    sender.begin()
    sender.set(b_0=5)


def play_losses(sender: Sender) -> None:
    sender.set(**{f"{'x' * 36}_0": 1})
    sender.send(model({"x": 1}))
    sender.set(a_0="x" * (2 << 20))
    sender.done()


PLAYS = [play_values, play_widgets, play_commands, play_a_restart, play_losses]


@pytest.mark.parametrize("guilty", [False, True])
@pytest.mark.parametrize("play", PLAYS)
def test_it_brings_back_what_the_first_would_have(
    play: Callable[[Sender], None], guilty: bool
) -> None:
    sender = Sender()
    play(sender)
    journal = loaded_from(sender)
    expected = copy.deepcopy(sender.journal).rebuild(without_running=guilty)
    found = journal.rebuild(without_running=guilty)
    assert restored(found) == restored(expected)
    assert ids_apart(commands_of(found)[1:]) == ids_apart(commands_of(expected)[1:])
    assert found.commands == expected.commands
    assert found.lost == (*expected.lost, OF_THE_REQUEST)
    assert journal.unanswered() == [call for call in ["runs"] if play is play_commands]


def test_calls_that_were_not_done_are_answered_for_on_another_server() -> None:
    sender = Sender()
    play_commands(sender)
    journal = loaded_from(sender)
    journal.begin_anew(commands_of(sender.rebuild())[0])
    assert journal.unanswered() == ["runs", "waits"]


def ids_apart(commands: list[Any]) -> list[Any]:
    """Without the tokens that marimo makes anew for what the journal sends, and without what is
    never kept."""
    return [
        msgspec.structs.replace(one, token="", request=None)
        if isinstance(one, UpdateUIElementCommand)
        else one
        for one in commands
        if not isinstance(one, UpdateUserConfigCommand)
    ]


def test_the_first_run_comes_back_without_the_request_of_the_page() -> None:
    sender = Sender()
    sender.send(ExecuteCellsCommand(["Hbol"], ["2"], request=of_somebody()))  # type: ignore[list-item]
    instantiation, again = commands_of(loaded_from(sender).rebuild(without_running=False))
    assert instantiation.auto_run
    assert [one.code for one in instantiation.execution_requests] == ["1"]
    assert instantiation.request is None
    assert (again.codes, again.request) == (["2"], None)
    assert b"secret" not in sender.journal.kept()


def test_its_kernel_is_the_one_that_it_was_made_for() -> None:
    sender = Sender()
    config: Any = {"ai": {"open_ai": {"api_key": "secret"}}}
    sender.send(UpdateUserConfigCommand(config))
    sender.done()
    sender.send(UpdateUserConfigCommand(config))
    sender.begin()
    assert b"secret" not in sender.journal.kept()
    rebuilt = loaded_from(sender).rebuild(without_running=False)
    assert pickle.loads(rebuilt.kernel.args) == {"of": "another server"}
    assert rebuilt.lost == (OF_THE_REQUEST,)


def test_uploaded_files_are_named_as_lost_whether_the_kernel_has_taken_them_or_not() -> None:
    sender = Sender(max_files_bytes=5_000_000)
    sender.upload(a_0=[["a.csv", "x" * 200_000]])
    sender.done()
    sender.upload(b_0={"of a form": [["b.csv", "x" * 200_000]], "n": 1}, c_0=[["c.csv", "eA=="]])
    assert sender.journal.untaken_text_bytes > 0
    kept = sender.journal.kept()
    assert len(kept) < 5000
    journal = new_journal()
    journal.load(kept)
    assert journal.untaken_text_bytes == 0
    rebuilt = journal.rebuild(without_running=False)
    assert restored(rebuilt) == {"c-0": [["c.csv", "eA=="]]}
    assert rebuilt.lost == ("the files a.csv, b.csv must be uploaded again", OF_THE_REQUEST)
    assert sender.rebuild().lost == ()


def test_a_value_that_cannot_be_written_costs_only_itself() -> None:
    sender = Sender()
    sender.set(a_0=1 << 70, c_0=1)
    rebuilt = loaded_from(sender).rebuild(without_running=False)
    assert restored(rebuilt) == {"c-0": 1}
    assert rebuilt.lost == ("what was set in the largest inputs", OF_THE_REQUEST)


def test_a_command_that_another_version_of_marimo_does_not_know_costs_only_itself() -> None:
    sender = Sender()
    sender.send(InvokeFunctionCommand("call", "ns", "f", {}))
    sender.set(a_0=1)
    kept = sender.journal.kept().replace(b"invoke-function", b"revoke-function")
    journal = new_journal()
    journal.load(kept)
    rebuilt = journal.rebuild(without_running=False)
    assert restored(rebuilt) == {"a-0": 1}
    assert "some of what was set or clicked while the app was down" in rebuilt.lost


def test_nothing_in_it_is_a_pickle() -> None:
    sender = Sender(max_files_bytes=1 << 20)
    for play in PLAYS[:-1]:
        play(sender)
    sender.send(uploaded({"a-0": [["a.csv", "x" * 200_000]]}))
    kept = msgspec.msgpack.decode(sender.journal.kept())
    assert not [text for text in bytes_in(kept) if text.startswith(b"\x80")]


def bytes_in(value: Any) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in bytes_in(one)]


def test_a_session_that_did_nothing_is_kept_too() -> None:
    journal = new_journal()
    journal.load(new_journal().kept())
    assert journal.rebuild(without_running=False) == new_journal().rebuild(without_running=False)


def test_what_is_cut_off_or_of_another_version_is_refused_and_nothing_taken_over() -> None:
    sender = Sender()
    play_values(sender)
    kept = sender.journal.kept()
    journal = new_journal()
    for refused in (
        *(kept[:size] for size in range(len(kept))),
        kept.replace(b"journal-1", b"journal-0"),
        kept.replace(b"create-notebook", b"delete-notebook"),
        kept.replace(b"Hbol", b"Hb\xffl"),
    ):
        with pytest.raises(ProtocolError, match="open the session as a new one"):
            journal.load(refused)
    assert journal.rebuild(without_running=False) == empty()


def empty() -> Rebuilt:
    return new_journal().rebuild(without_running=False)


def test_it_goes_on_as_any_other() -> None:
    sender = Sender()
    sender.set(a_0=1)
    journal = loaded_from(sender)
    journal.rebuild(without_running=False)
    journal.progressed(1, 1)
    journal.sent(Channel.CONTROL, UpdateUIElementCommand(["b-0"], [2]))  # type: ignore[list-item]
    assert restored(journal.rebuild(without_running=False)) == {"a-0": 1, "b-0": 2}
