"""Threads that cells start: what they show, and how they learn that their cell no longer needs
them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from kernel.finders import found_by
from waiting import PATIENCE_S

from mpkernel.kernel import outputs
from mpkernel.kernel.messages import Figure, Message
from mpkernel.kernel.shown.output_list import CellOutputList
from mpkernel.kernel.threads import Thread, current_thread


class RecordingPlace:
    """A cell of the test's own."""

    def __init__(self, cell: str) -> None:
        self.cell = cell
        self.changes: list[list[str]] = []
        self.outputs = CellOutputList(self._on_change, lambda v: Figure("text/plain", str(v)))
        self.over = threading.Event()

    def send(self, message: Message) -> None:
        raise AssertionError("threads send nothing by themselves")

    def _on_change(self, figures: list[Figure]) -> None:
        self.changes.append([figure.data for figure in figures])


class Places:
    """Where code runs: `here` for threads that no other place was given to, as a thread's console
    stream would say it."""

    def __init__(self) -> None:
        self.here: RecordingPlace | None = RecordingPlace("cell")
        self.local = threading.local()

    def find(self) -> RecordingPlace | None:
        return getattr(self.local, "place", self.here)


@pytest.fixture
def places() -> Iterator[Places]:
    places = Places()
    with found_by(places.find):
        yield places


@pytest.fixture
def place(places: Places) -> RecordingPlace:
    assert places.here is not None
    return places.here


def finish(thread: threading.Thread) -> None:
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_thread_shows_at_the_cell_that_started_it(place: RecordingPlace) -> None:
    threads = [Thread(target=outputs.append, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        finish(thread)
    assert sorted(place.changes[-1]) == ["0", "1", "2", "3", "4"]


def test_what_a_thread_shows_after_its_cell_ended_still_arrives(
    places: Places, place: RecordingPlace
) -> None:
    cell_ended = threading.Event()

    def work() -> None:
        places.local.place = place
        assert cell_ended.wait(PATIENCE_S)
        outputs.append("late")
        outputs.append("later")

    outputs.append("in time")
    thread = Thread(target=work)
    thread.start()
    places.here = RecordingPlace("next cell")
    place.over.set()
    cell_ended.set()
    finish(thread)
    assert place.changes[-1] == ["in time", "late", "later"]
    assert places.here.changes == []


def test_a_thread_is_asked_to_exit_when_its_cell_is_over(place: RecordingPlace) -> None:
    seen: list[bool] = []
    looked = threading.Event()

    def work() -> None:
        seen.append(current_thread().should_exit)
        looked.set()
        assert place.over.wait(PATIENCE_S)
        seen.append(current_thread().should_exit)

    thread = Thread(target=work)
    thread.start()
    assert looked.wait(PATIENCE_S)
    place.over.set()
    finish(thread)
    assert thread.should_exit
    assert seen == [False, True]


def test_the_cell_that_made_the_thread_is_the_one_that_counts(
    places: Places, place: RecordingPlace
) -> None:
    thread = Thread(target=lambda: None)
    places.here = RecordingPlace("next cell")
    thread.start()
    finish(thread)
    places.here.over.set()
    before = thread.should_exit
    place.over.set()
    assert (before, thread.should_exit) == (False, True)


def test_a_thread_outside_of_any_session_runs_and_is_never_asked_to_exit(places: Places) -> None:
    places.here = None
    seen: list[bool] = []
    thread = Thread(target=lambda: seen.append(current_thread().should_exit))
    thread.start()
    finish(thread)
    assert seen == [False]


def test_a_subclass_that_runs_by_itself_knows_too(place: RecordingPlace) -> None:
    class Worker(Thread):
        def __init__(self) -> None:
            super().__init__(name="worker", daemon=True)
            self.seen: list[object] = []

        def run(self) -> None:
            self.seen += [current_thread() is self, self.should_exit]

    place.over.set()
    worker = Worker()
    worker.start()
    finish(worker)
    assert worker.seen == [True, True]
    assert (worker.name, worker.daemon) == ("worker", True)


@pytest.mark.usefixtures("place")
def test_a_thread_takes_what_a_plain_one_takes() -> None:
    seen: list[object] = []

    def work(*args: object, **kwargs: object) -> None:
        seen.extend((args, kwargs))

    thread = Thread(None, work, "named", (1, 2), {"a": 3}, daemon=True)
    assert (thread.name, thread.daemon) == ("named", True)
    thread.start()
    finish(thread)
    assert seen == [(1, 2), {"a": 3}]


def test_in_another_thread_there_is_no_current_one() -> None:
    errors: list[str] = []

    def ask() -> None:
        with pytest.raises(RuntimeError) as raised:
            current_thread()
        errors.append(str(raised.value))

    plain = threading.Thread(target=ask, name="plain one")
    plain.start()
    finish(plain)
    ask()
    assert "'plain one'" in errors[0]
    assert "MainThread" in errors[1]
