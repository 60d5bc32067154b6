"""A cell's outputs, changed by many threads and in the middle of changes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from kernel.finders import found_by
from waiting import PATIENCE_S

from mpkernel.kernel import outputs
from mpkernel.kernel.messages import Figure, Message
from mpkernel.kernel.shown.output_list import CellOutputList


def as_text(value: object) -> Figure:
    return Figure("text/plain", str(value))


class Told:
    """An output list and what was told of it."""

    def __init__(self, to_figure: Callable[[object], Figure] = as_text) -> None:
        self.changes: list[list[str]] = []
        self.outputs = CellOutputList(self._on_change, to_figure)

    def _on_change(self, figures: list[Figure]) -> None:
        self.changes.append([figure.data for figure in figures])

    @property
    def shown(self) -> list[str]:
        return [figure.data for figure in self.outputs.figures]


class RecordingPlace:
    """A cell of the test's own."""

    cell = "cell"

    def __init__(self) -> None:
        self.told = Told()
        self.outputs = self.told.outputs
        self.over = threading.Event()

    def send(self, message: Message) -> None:
        raise AssertionError("outputs are told by their list")


@pytest.fixture
def place() -> Iterator[RecordingPlace]:
    here = RecordingPlace()
    with found_by(lambda: here):
        yield here


@pytest.fixture
def nowhere() -> Iterator[None]:
    with found_by(lambda: None):
        yield


def run_all(*targets: Callable[[], None]) -> None:
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_every_change_is_told_with_all_that_is_shown_then() -> None:
    told = Told()
    told.outputs.append("a")
    told.outputs.append("b")
    told.outputs.replace_at("c", 0)
    told.outputs.remove("b")
    told.outputs.replace("d")
    told.outputs.clear()
    assert told.changes == [["a"], ["a", "b"], ["c", "b"], ["c"], ["d"], []]


def test_nothing_shown_is_an_empty_list() -> None:
    told = Told()
    assert told.outputs.figures == []
    told.outputs.append("a")
    told.outputs.clear()
    assert told.outputs.figures == []
    assert len(told.outputs) == 0
    assert told.outputs.stack() is None


def test_clearing_nothing_is_told_too() -> None:
    told = Told()
    told.outputs.clear()
    told.outputs.clear()
    assert told.changes == [[], []]


def test_the_figures_are_a_copy() -> None:
    told = Told()
    told.outputs.append("a")
    told.outputs.figures.clear()
    assert told.shown == ["a"]


@pytest.mark.parametrize(
    ("index", "shown"),
    [
        (0, ["new", "b", "c"]),
        (2, ["a", "b", "new"]),
        (-1, ["a", "b", "new"]),
        (-3, ["new", "b", "c"]),
        (3, ["a", "b", "c", "new"]),
    ],
)
def test_an_output_is_replaced_at_its_index(index: int, shown: list[str]) -> None:
    told = Told()
    for value in "abc":
        told.outputs.append(value)
    told.outputs.replace_at("new", index)
    assert told.shown == told.changes[-1] == shown


@pytest.mark.parametrize("index", [4, -4, 1000])
def test_an_index_of_no_output_says_how_many_there_are(index: int) -> None:
    told = Told()
    for value in "abc":
        told.outputs.append(value)
    with pytest.raises(IndexError, match=f"{index}.* 3"):
        told.outputs.replace_at("new", index)
    assert told.shown == ["a", "b", "c"]
    assert len(told.changes) == 3


def test_an_index_that_is_no_integer_is_refused() -> None:
    with pytest.raises(TypeError):
        Told().outputs.replace_at("new", 0.0)  # type: ignore[arg-type]


def test_a_value_is_removed_wherever_it_is_shown() -> None:
    told, value = Told(), ["value"]
    for shown in (value, "other", value, ["value"]):
        told.outputs.append(shown)
    told.outputs.remove(value)
    assert told.shown == ["other", "['value']"]


def test_an_equal_text_or_number_is_the_same_value_but_not_one_of_another_type() -> None:
    told = Told()
    for shown in (1000, True, 1, "".join(["te", "xt"])):
        told.outputs.append(shown)
    told.outputs.remove("text")
    told.outputs.remove(int("1000"))
    told.outputs.remove(1.0)
    assert told.shown == ["True", "1"]


def test_a_value_that_compares_to_no_bool_is_removed() -> None:
    class Array:
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = None  # type: ignore[assignment]

    told, array = Told(), Array()
    told.outputs.append(Array())
    told.outputs.append(array)
    told.outputs.remove(array)
    assert len(told.outputs) == 1


def test_a_value_that_is_not_shown_is_removed_in_silence() -> None:
    told = Told()
    told.outputs.append("a")
    told.outputs.remove("b")
    assert told.changes == [["a"]]


def test_all_that_is_shown_stacks_to_one_figure() -> None:
    told = Told()
    told.outputs.append("a")
    assert told.outputs.stack() == as_text("a")
    told.outputs.append("b")
    assert told.outputs.stack() == Figure(
        "text/html", "<div><pre>a</pre></div><div><pre>b</pre></div>"
    )


def test_appends_of_many_threads_are_told_once_each_and_in_order() -> None:
    told = Told()

    def append(name: int) -> None:
        for number in range(50):
            told.outputs.append(f"{name}-{number}")

    run_all(*[lambda name=name: append(name) for name in range(8)])
    assert [len(change) for change in told.changes] == list(range(1, 401))
    for earlier, later in zip(told.changes, told.changes[1:], strict=False):
        assert later[:-1] == earlier
    for name in range(8):
        own = [text for text in told.shown if text.startswith(f"{name}-")]
        assert own == [f"{name}-{number}" for number in range(50)]


def test_what_was_told_last_is_what_is_shown_after_any_changes_of_threads() -> None:
    told = Told()
    changes: list[Callable[[int], None]] = [
        told.outputs.append,
        told.outputs.replace,
        lambda number: told.outputs.replace_at(number, 0),
        told.outputs.remove,
        lambda _: told.outputs.clear(),
    ]

    def change(first: int) -> None:
        for number in range(200):
            changes[(first + number) % len(changes)](number)

    run_all(*[lambda first=first: change(first) for first in range(5)])
    assert told.changes[-1] == told.shown


class AppendsWhenCollected:
    """Its `__del__` shows something."""

    def __init__(self, outputs: CellOutputList, text: str) -> None:
        self.outputs = outputs
        self.text = text

    def __del__(self) -> None:
        self.outputs.append(self.text)


def test_what_a_collected_object_shows_in_the_middle_of_a_change_is_told_after_it() -> None:
    changes: list[list[str]] = []
    garbage: list[AppendsWhenCollected] = []

    def on_change(figures: list[Figure]) -> None:
        garbage.clear()
        changes.append([figure.data for figure in figures])

    outputs = CellOutputList(on_change, as_text)
    garbage.append(AppendsWhenCollected(outputs, "late"))
    outputs.append("first")
    assert changes == [["first"], ["first", "late"]]


def test_what_a_removed_value_shows_when_it_goes_is_told() -> None:
    told = Told(lambda value: Figure("text/plain", getattr(value, "text", str(value))))
    told.outputs.append(AppendsWhenCollected(told.outputs, "gone"))
    told.outputs.clear()
    assert told.changes == [["gone"], [], ["gone"]]


def test_a_removed_value_may_wait_for_a_thread_that_shows_something() -> None:
    class Waits:
        def __del__(self) -> None:
            run_all(lambda: told.outputs.append("from its thread"))

    told = Told()
    told.outputs.append(Waits())
    told.outputs.clear()
    assert told.changes[1:] == [[], ["from its thread"]]


def test_a_repr_may_show_something_itself_and_wait_for_a_thread_that_does() -> None:
    def to_figure(value: object) -> Figure:
        if value == "outer":
            told.outputs.append("inner")
            run_all(lambda: told.outputs.append("from its thread"))
        return as_text(value)

    told = Told(to_figure)
    told.outputs.append("outer")
    assert told.shown == ["inner", "from its thread", "outer"]


def test_a_change_that_could_not_be_told_is_told_with_the_next_one() -> None:
    changes: list[list[str]] = []
    interrupts = [KeyboardInterrupt()]

    def on_change(figures: list[Figure]) -> None:
        if interrupts:
            raise interrupts.pop()
        changes.append([figure.data for figure in figures])

    outputs = CellOutputList(on_change, as_text)
    with pytest.raises(KeyboardInterrupt):
        outputs.append("a")
    outputs.flush()
    outputs.flush()
    assert changes == [["a"]]
    interrupts.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        outputs.append("b")
    outputs.append("c")
    assert changes == [["a"], ["a", "b", "c"]]


def test_a_value_that_cannot_be_shown_changes_nothing() -> None:
    def to_figure(value: object) -> Figure:
        raise ValueError("broken")

    told = Told(to_figure)
    for change in (told.outputs.append, told.outputs.replace):
        with pytest.raises(ValueError, match="broken"):
            change("a")
    assert told.changes == []


def test_a_fork_in_the_middle_of_another_threads_change_can_show_something() -> None:
    telling, go_on = threading.Event(), threading.Event()
    parent = os.getpid()

    def on_change(figures: list[Figure]) -> None:
        if os.getpid() == parent:
            telling.set()
            assert go_on.wait(PATIENCE_S)

    outputs = CellOutputList(on_change, as_text)
    thread = threading.Thread(target=outputs.append, args=("a",))
    thread.start()
    assert telling.wait(PATIENCE_S)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout's own needs bytecode
        signal.alarm(PATIENCE_S)
        try:
            outputs.append("b")
            os._exit(len(outputs))
        finally:
            os._exit(255)
    _, status = os.waitpid(child, 0)
    go_on.set()
    thread.join(PATIENCE_S)
    assert os.waitstatus_to_exitcode(status) == 2
    assert len(outputs) == 1


def test_user_code_changes_what_its_cell_shows(place: RecordingPlace) -> None:
    outputs.append("a")
    outputs.append("b")
    outputs.replace_at_index("c", 0)
    outputs.remove("b")
    outputs.replace("d")
    outputs.clear()
    assert place.told.changes == [["a"], ["a", "b"], ["c", "b"], ["c"], ["d"], []]


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    "change",
    [
        lambda: outputs.append(1),
        lambda: outputs.replace(1),
        lambda: outputs.replace_at_index(1, 0),
        lambda: outputs.clear(),
        lambda: outputs.remove(1),
    ],
    ids=["append", "replace", "replace_at_index", "clear", "remove"],
)
def test_outside_of_a_session_there_is_nothing_to_show_it(
    change: Callable[[], None], request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id
    with pytest.raises(RuntimeError, match=rf"^{name}\(\) .*outside of a session"):
        change()
