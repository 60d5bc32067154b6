"""The journal of a marimo session: which commands it gives to a kernel that replaces another."""

from __future__ import annotations

import pickle
import threading
import weakref
from typing import Any

import msgspec
import pytest
from marimo._runtime.commands import (
    CreateNotebookCommand,
    ExecuteCellCommand,
    HTTPRequest,
    InvokeFunctionCommand,
    ModelCommand,
    ModelCustomMessage,
    ModelUpdateMessage,
    UpdateUIElementCommand,
    UpdateUserConfigCommand,
)
from marimo_backend.uploading import uploaded

from mpkernel.errors import ProtocolError
from mpkernel.marimo_backend.crossing import Click, RestoredModel, RestoredValue, WidgetShown
from mpkernel.marimo_backend.server.marimo_journal import MarimoJournal
from mpkernel.server.sessions.journal import Rebuilt
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel

REQUEST = HTTPRequest(
    url={}, base_url={}, headers={"x": "y"}, query_params={"q": ["1"]}, path_params={},
    cookies={}, meta={}, user=None,
)  # fmt: skip


class Sender:
    """A client and its kernel, as a journal knows them."""

    def __init__(self, max_bytes: int = 1 << 20, max_files_bytes: int = 0) -> None:
        kernel = KernelSpec(entry="x:y", args=b"as created")
        arguments = {"user_config": {"theme": "light"}, "log_level": 10}
        self.journal = MarimoJournal(
            kernel, arguments, max_bytes=max_bytes, max_files_bytes=max_files_bytes
        )
        self._sent = self._done = 0
        self.send(
            CreateNotebookCommand(
                execution_requests=(ExecuteCellCommand(cell_id="Hbol", code="1"),),
                cell_ids=("Hbol",),
                set_ui_element_value_request=UpdateUIElementCommand([], []),
                auto_run=True,
                request=REQUEST,
            )
        )
        self.done()

    def send(self, command: Any) -> None:
        self._sent += 1
        self.journal.sent(Channel.CONTROL, command)

    def set(self, **values: Any) -> None:
        names = [name.replace("_", "-") for name in values]
        self.send(UpdateUIElementCommand(names, list(values.values())))

    def upload(self, **values: Any) -> None:
        """The same, with values that have long texts, as they come from a page."""
        self.send(uploaded({name.replace("_", "-"): value for name, value in values.items()}))

    def done(self) -> None:
        """Say that the kernel has done all commands."""
        self._done = self._sent
        self.journal.progressed(self._sent, self._sent)

    def begin(self, count: int = 1) -> None:
        """Say that the kernel has begun this number of further commands."""
        self.journal.progressed(self._done + count, self._done)

    def rebuild(self, *, guilty: bool = False) -> Rebuilt:
        rebuilt = self.journal.rebuild(without_running=guilty)
        self._sent, self._done = len(rebuilt.messages), 0
        return rebuilt


def commands_of(rebuilt: Rebuilt) -> list[Any]:
    assert all(channel is Channel.CONTROL for channel, _ in rebuilt.messages)
    return [pickle.loads(payload) for _, payload in rebuilt.messages]


def restored(rebuilt: Rebuilt) -> dict[str, Any]:
    """The initial values in the instantiation, of elements and of models."""
    instantiation = commands_of(rebuilt)[0]
    values = {}
    for object_id, value in instantiation.set_ui_element_value_request.ids_and_values:
        values[object_id] = value.value if isinstance(value, RestoredValue) else value
    return values


@pytest.fixture
def sender() -> Sender:
    return Sender()


def test_the_instantiation_comes_back_with_the_last_value_of_every_element(sender: Sender) -> None:
    sender.set(a_0=1, b_0="x")
    sender.set(a_0=2)
    sender.done()
    sender.set(c_0=[3])
    rebuilt = sender.rebuild()
    (instantiation,) = commands_of(rebuilt)
    assert restored(rebuilt) == {"a-0": 2, "b-0": "x", "c-0": [3]}
    assert instantiation.auto_run
    assert instantiation.request == REQUEST
    assert [request.code for request in instantiation.execution_requests] == ["1"]
    assert (rebuilt.commands, rebuilt.lost) == (1, ())


def test_a_session_that_was_not_instantiated_gets_nothing_but_its_kernel() -> None:
    journal = MarimoJournal(KernelSpec(entry="x:y"), {}, max_bytes=1000)
    assert (journal.rebuild(without_running=False).messages, journal.sent) != ([], None)
    assert journal.rebuild(without_running=False).commands == 0


def test_what_ended_the_process_is_left_out_and_what_follows_is_not(sender: Sender) -> None:
    sender.set(a_0=1)
    sender.done()
    sender.set(a_0=99)
    sender.set(b_0=1)
    sender.begin()
    assert restored(sender.rebuild(guilty=True)) == {"a-0": 1, "b-0": 1}


def test_a_rebuilding_that_ends_the_process_goes_back_to_what_ran_before(sender: Sender) -> None:
    sender.set(a_0=1)
    sender.done()
    sender.set(a_0=99)
    sender.begin()
    assert restored(sender.rebuild()) == {"a-0": 99}
    sender.begin()
    assert restored(sender.rebuild()) == {"a-0": 99}
    sender.begin()
    assert restored(sender.rebuild(guilty=True)) == {"a-0": 1}


def test_a_first_run_that_ends_the_process_is_known_not_to_be_left_out(sender: Sender) -> None:
    sender.rebuild()
    sender.begin()
    sender.rebuild(guilty=True)
    assert sender.journal.repeats_first_run
    sender.done()
    sender.set(a_0=99)
    sender.begin()
    sender.rebuild(guilty=True)
    assert not sender.journal.repeats_first_run


def test_the_elements_of_a_cell_that_ran_again_have_values_of_their_own(sender: Sender) -> None:
    sender.set(Hbol_0=1, Hbo_0=2, Hbol_10=3)
    sender.done()
    sender.journal.received(b'{"op":"remove-ui-elements","cell_id":"Hbol"}')
    assert restored(sender.rebuild()) == {"Hbo-0": 2}
    sender.journal.received(b'{"op":"remove-ui-elements","cell_id":"Hbo"}')  # its first run
    assert restored(sender.rebuild()) == {"Hbo-0": 2}


def test_a_click_that_had_not_begun_is_made_once_and_one_that_had_is_not(sender: Sender) -> None:
    sender.set(run_0=1)
    sender.set(run_0=2, slider_0=1.5)
    sender.begin()
    _, late = commands_of(sender.rebuild())
    assert late.ids_and_values == [("run-0", Click(2))]
    _, late = commands_of(sender.rebuild())
    assert late.ids_and_values == [("run-0", Click(2))]
    sender.begin(2)
    assert len(commands_of(sender.rebuild())) == 1


def test_a_function_that_had_not_begun_is_called_and_one_that_ran_is_answered_for(
    sender: Sender,
) -> None:
    for call in ("ran", "waits"):
        sender.send(InvokeFunctionCommand(call, "ns", "f", {}))
    sender.begin()
    rebuilt = sender.rebuild()
    assert [command.function_call_id for command in commands_of(rebuilt)[1:]] == ["waits"]
    assert sender.journal.unanswered() == ["ran"]
    assert sender.journal.unanswered() == []


def test_the_state_of_a_widget_follows_its_element_to_another_model(sender: Sender) -> None:
    def update(model: str, buffers: dict[str, bytes], **state: Any) -> ModelCommand:
        paths: list[list[str | int]] = [[name] for name in buffers]
        return ModelCommand(model, ModelUpdateMessage(state, paths), list(buffers.values()))

    shown = msgspec.json.encode(WidgetShown("model", "Hbol-0"))
    sender.journal.received(shown)
    sender.send(update("model", {"data": b"old"}, x=1, y=1))
    sender.send(update("model", {"data": b"new"}, x=2, data=None))
    sender.done()
    sender.send(update("model", {}, y=3))
    expected = RestoredModel({"x": 2, "y": 3, "data": None}, {("data",): b"new"})
    rebuilt = sender.rebuild()
    assert restored(rebuilt) == {"Hbol-0": expected}
    sender.done()
    sender.journal.received(msgspec.json.encode(WidgetShown("another", "Hbol-0")))
    sender.send(update("another", {}, x=4))
    sender.send(update("unshown", {}, x=0))
    rebuilt = sender.rebuild()
    assert restored(rebuilt)["Hbol-0"].state["x"] == 4
    assert rebuilt.lost == ("the state of widgets that are parts of others",)


def test_a_notification_that_user_code_made_up_is_passed_over(sender: Sender) -> None:
    for op in (b"remove-ui-elements", b"mpkernel-widget"):
        for rest in (b"", b"}", b',"cell_id":7}', b',"model_id":"x"}'):
            sender.journal.received(b'{"op":"' + op + b'"' + rest)
    assert restored(sender.rebuild()) == {}


def test_the_kernel_is_created_with_the_last_user_configuration(sender: Sender) -> None:
    sender.send(UpdateUserConfigCommand({"theme": "dark"}))  # type: ignore[typeddict-item]
    sender.done()
    arguments = pickle.loads(sender.rebuild().kernel.args)
    assert arguments == {"user_config": {"theme": "dark"}, "log_level": 10}


def test_elements_whose_ids_are_others_in_each_process_are_lost(sender: Sender) -> None:
    sender.set(**{"c9bf9e57-1685-4c89-bafb-ff5af830be8aHbol-0": 1})
    rebuilt = sender.rebuild()
    assert (restored(rebuilt), rebuilt.lost) == ({}, ("what was set in some embedded apps",))


def test_the_largest_values_go_first_when_there_is_no_room(sender: Sender) -> None:
    sender = Sender(max_bytes=1000)
    sender.set(small_0="x")
    sender.done()
    for name in ("large_0", "larger_0"):
        sender.set(**{name: "x" * (500 if name == "large_0" else 800)})
        sender.done()
    rebuilt = sender.rebuild()
    assert restored(rebuilt) == {"small-0": "x", "large-0": "x" * 500}
    assert rebuilt.lost == ("what was set in the largest inputs",)
    sender.done()
    sender.set(larger_0="y")
    assert sender.rebuild().lost == ()


def test_what_is_sent_to_a_kernel_that_takes_nothing_is_bounded() -> None:
    sender = Sender(max_bytes=10_000)
    for number in range(100_000):
        sender.set(a_0=number)
    sender.send(InvokeFunctionCommand("call", "ns", "f", {"text": "x" * 20_000}))
    assert len(sender.journal._pending) < 200
    sender.begin(2)
    rebuilt = sender.rebuild()
    assert len(commands_of(rebuilt)) < 200
    assert rebuilt.lost == ("some of what was set or clicked while the app was down",)
    assert sender.journal.unanswered() == ["call"]


def test_a_kernel_that_claims_more_than_was_sent_is_not_believed(sender: Sender) -> None:
    sender.set(a_0=1)
    with pytest.raises(ProtocolError):
        sender.journal.progressed(2**40, 2**40)


def test_a_notification_that_is_nested_too_deeply_is_none(sender: Sender) -> None:
    nested = b"[" * 100_000 + b"]" * 100_000
    sender.journal.received(b'{"op":"remove-ui-elements","more":' + nested + b"}")


@pytest.mark.parametrize(
    "command",
    [
        UpdateUIElementCommand(["a-0"], ["x" * 1000]),
        InvokeFunctionCommand("id", "namespace", "name", {"a": "x" * 1000}),
        ModelCommand("model", ModelCustomMessage({"a": 1}), [b"x" * 1000]),
        UpdateUserConfigCommand({"theme": "x" * 1000}),  # type: ignore[typeddict-item]
    ],
)
def test_what_waits_for_a_process_has_room_up_to_the_bound_whatever_it_is(command: Any) -> None:
    sender = Sender(max_bytes=10_000)
    sent = 0
    while sender.journal.has_room(Channel.CONTROL, command):
        sender.send(command)
        sent += 1
    assert 5 < sent < 10
    sender.done()
    assert sender.journal.has_room(Channel.CONTROL, command)


def test_the_instantiation_and_what_is_never_kept_have_room_always() -> None:
    sender = Sender(max_bytes=0)
    command = UpdateUIElementCommand(["a-0"], [1])
    assert sender.journal.has_room(Channel.COMPLETION, command)
    assert not sender.journal.has_room(Channel.CONTROL, command)
    journal = MarimoJournal(KernelSpec(entry="x:y"), {}, max_bytes=0)
    first = CreateNotebookCommand((), (), UpdateUIElementCommand([], []), True)
    assert journal.has_room(Channel.CONTROL, first)


def test_an_integer_over_64_bits_is_kept_like_any_other(sender: Sender) -> None:
    sender.set(a_0=[2**70], b_0={"deep": -(2**65)})
    sender.done()
    assert restored(sender.rebuild()) == {"a-0": [2**70], "b-0": {"deep": -(2**65)}}


def test_names_that_a_page_makes_up_are_kept_within_the_bound_too() -> None:
    sender = Sender(max_bytes=1_000)
    for number in range(3_000):
        sender.set(**{f"made_up_{number}": "x" * 600})
        sender.done()
    assert len(sender.journal._state.too_large) == 1_000
    assert sender.rebuild().lost == ("what was set in the largest inputs",)


def lost_of(*values: dict[str, Any]) -> tuple[str, ...]:
    """What is said to be lost when the process dies after elements were set to these, in turn."""
    sender = Sender()
    for one in values:
        sender.send(UpdateUIElementCommand(list(one), list(one.values())))
        sender.done()
    return sender.journal.rebuild(without_running=False).lost


class TestUploads:
    @staticmethod
    def upload(size: int, name: str = "sales.csv") -> list[list[str]]:
        return [[name, "A" * size]]

    def test_a_file_that_is_too_large_is_named(self) -> None:
        lost = lost_of({"Hbol-0": self.upload(2_000_000)})
        assert lost == ("the file sales.csv must be uploaded again",)

    def test_files_in_a_form_are_named(self) -> None:
        form = {"a": self.upload(2_000_000, "a.csv"), "b": self.upload(1, "b.csv"), "c": 3}
        assert lost_of({"Hbol-0": form}) == ("the files a.csv, b.csv must be uploaded again",)

    def test_files_deeper_in_a_form_are_named(self) -> None:
        form = {"array": {"0": self.upload(2_000_000, "a.csv"), "1": []}}
        assert lost_of({"Hbol-0": form}) == ("the file a.csv must be uploaded again",)

    def test_long_texts_are_kept_apart_however_deep(self) -> None:
        sender = Sender(max_bytes=1000, max_files_bytes=5_000_000)
        file = self.upload(2_000_000)
        sender.upload(a_0=file)
        sender.upload(b_0={"a": {"0": file}, "b": 1})
        sender.done()
        rebuilt = sender.rebuild()
        assert restored(rebuilt) == {"a-0": file, "b-0": {"a": {"0": file}, "b": 1}}
        assert rebuilt.lost == ()
        assert sum(len(payload) for _, payload in rebuilt.messages) < 5_000

    def test_what_is_kept_apart_is_bounded_too(self) -> None:
        sender = Sender(max_files_bytes=5_000_000)
        for name, size in (("a", 2_000_000), ("b", 4_000_000), ("c", 6_000_000)):
            sender.upload(**{f"{name}_0": {"x": self.upload(size, f"{name}.csv")}})
            sender.done()
        rebuilt = sender.rebuild()
        assert list(restored(rebuilt)) == ["a-0"]
        assert rebuilt.lost == ("the files b.csv, c.csv must be uploaded again",)

    @pytest.mark.parametrize("max_bytes", [0, 1 << 20])
    def test_what_is_not_kept_stays_until_the_kernel_has_taken_it(self, max_bytes: int) -> None:
        sender = Sender(max_bytes, max_files_bytes=0)
        command = uploaded({"a-0": self.upload(100_000)})
        (text,) = command.values[0].texts
        sender.send(command)
        is_gone = threading.Event()
        weakref.finalize(text, is_gone.set)
        assert sender.journal.untaken_text_bytes == 100_000
        taken = pickle.dumps(command)
        del command, text
        sender.begin()
        assert pickle.loads(taken).values == [self.upload(100_000)]
        assert not is_gone.is_set()
        sender.done()
        assert is_gone.is_set()
        assert sender.journal.untaken_text_bytes == 0

    def test_what_nobody_keeps_is_refused_while_there_is_no_process(self) -> None:
        journal = Sender(max_files_bytes=150_000).journal
        command = uploaded({"a-0": self.upload(100_000)})
        assert journal.has_room(Channel.CONTROL, command)
        journal.sent(Channel.CONTROL, command)
        assert not journal.has_room(Channel.CONTROL, command)

    def test_what_else_is_too_large_is_no_file(self) -> None:
        lost = lost_of({"Hbol-0": "x" * 2_000_000})
        assert lost == ("what was set in the largest inputs",)

    def test_a_file_that_was_uploaded_anew_is_not_lost(self) -> None:
        lost = lost_of({"Hbol-0": self.upload(2_000_000)}, {"Hbol-0": self.upload(10)})
        assert lost == ()
