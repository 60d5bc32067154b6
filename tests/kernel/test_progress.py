"""Progress: how many of the updates are sent, when, and how a bar ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clocks import Clock
from kernel.finders import found_by
from kernel.recorded_progress import ProgressPlace, assert_done_once_and_last, of

from mpkernel.kernel.messages import Progress, decode_message, encode
from mpkernel.kernel.progress import progress_bar, spinner


@pytest.fixture
def place() -> Iterator[ProgressPlace]:
    place = ProgressPlace()
    with found_by(lambda: place):
        yield place


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_loop_sends_its_begin_and_its_end(place: ProgressPlace, clock: Clock) -> None:
    looped = list(progress_bar(["a", "b", "c"], title="Letters", clock=clock))
    assert looped == ["a", "b", "c"]
    assert of(place, "current") == [0, 3]
    assert of(place, "total") == [3, 3]
    assert set(of(place, "title")) == {"Letters"}
    assert set(of(place, "cell")) == {"cell"}
    assert len(set(of(place, "id"))) == 1
    assert_done_once_and_last(place)


def test_nothing_is_sent_before_the_loop_begins(place: ProgressPlace) -> None:
    bar = progress_bar([1, 2])
    iter(bar)
    bar.close()
    assert place.sent == []


def test_two_bars_are_told_apart(place: ProgressPlace) -> None:
    for _ in range(2):
        list(progress_bar([1]))
    assert len(set(of(place, "id"))) == 2


def test_an_item_counts_when_the_loop_is_through_with_it(
    place: ProgressPlace, clock: Clock
) -> None:
    for _ in progress_bar([1, 2, 3], clock=clock):
        clock.now_s += 1
    assert of(place, "current") == [0, 1, 2, 3, 3]


def test_at_most_ten_updates_a_second_are_sent(place: ProgressPlace, clock: Clock) -> None:
    sent_s: list[float] = []
    place.on_send = lambda _: sent_s.append(clock.now_s)
    with progress_bar(total=3000, clock=clock) as bar:
        for _ in range(3000):
            clock.now_s += 0.001
            bar.update()
    assert 25 <= len(sent_s) <= 32
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent_s[:-1])]
    assert min(gaps) >= 0.0999
    assert (place.sent[-1].current, place.sent[-1].done) == (3000, True)


def test_the_last_update_is_sent_though_the_bar_stays_open(place: ProgressPlace) -> None:
    with progress_bar(total=100) as bar:
        for _ in range(50):
            bar.update()
        last = place.wait_for(lambda message: message.current == 50)
        assert not last.done


def test_an_update_in_the_middle_of_a_message_is_sent_after_it(
    place: ProgressPlace, clock: Clock
) -> None:
    bar = progress_bar(total=10, clock=clock)

    def collect(message: Progress) -> None:
        if message.current == 1:
            bar.update()  # as a __del__ would that the garbage collector runs
            bar.close()

    place.on_send = collect
    with bar:
        clock.now_s += 1
        bar.update()
    assert of(place, "current") == [0, 1, 2]
    assert_done_once_and_last(place)


def test_a_bar_counts_and_writes_what_it_is_told(place: ProgressPlace, clock: Clock) -> None:
    with progress_bar(total=10, title="One", subtitle="first", clock=clock) as bar:
        clock.now_s += 1
        bar.update(4, title="Two")
        clock.now_s += 1
        bar.update(0, subtitle="second")
    assert of(place, "current") == [0, 4, 4, 4]
    assert of(place, "title") == ["One", "Two", "Two", "Two"]
    assert of(place, "subtitle") == ["first", "first", "second", "second"]


def test_rate_and_time_left_come_from_the_time_that_passed(
    place: ProgressPlace, clock: Clock
) -> None:
    with progress_bar(total=100, clock=clock) as bar:
        clock.now_s += 2
        bar.update(10)
        clock.now_s += 2
    assert of(place, "elapsed_s") == [0, 2, 4]
    assert of(place, "rate_per_s") == [None, 5, 2.5]
    assert of(place, "eta_s") == [None, 18, None]


def test_rate_and_time_left_can_be_kept_back(place: ProgressPlace, clock: Clock) -> None:
    with progress_bar(total=100, show_rate=False, show_eta=False, clock=clock) as bar:
        clock.now_s += 2
        bar.update(10)
    assert set(of(place, "rate_per_s") + of(place, "eta_s")) == {None}


def test_more_than_the_total_leaves_no_time_below_nothing(
    place: ProgressPlace, clock: Clock
) -> None:
    with progress_bar(total=1, clock=clock) as bar:
        clock.now_s += 1
        bar.update(5)
    assert (place.sent[1].current, place.sent[1].eta_s) == (5, 0)


def test_the_completion_is_written_when_all_is_done(place: ProgressPlace) -> None:
    options: dict[str, Any] = {"completion_title": "Done", "completion_subtitle": "all of it"}
    list(progress_bar([1], title="Doing", **options))
    with progress_bar(total=1, title="Doing", **options):
        pass
    written = [(m.title, m.subtitle) for m in place.sent if m.done]
    assert written == [("Done", "all of it")] * 2


def test_a_break_ends_the_bar_where_it_is(place: ProgressPlace) -> None:
    for item in progress_bar(range(10), title="Doing", completion_title="Done"):
        if item == 4:
            break
    assert_done_once_and_last(place)
    assert (place.sent[-1].current, place.sent[-1].title) == (4, "Doing")


def test_an_exception_in_the_loop_ends_the_bar_and_goes_up(place: ProgressPlace) -> None:
    with pytest.raises(KeyboardInterrupt):
        for item in progress_bar(range(10), title="Doing", completion_title="Done"):
            if item == 4:
                raise KeyboardInterrupt
    assert_done_once_and_last(place)
    assert (place.sent[-1].current, place.sent[-1].title) == (4, "Doing")


def test_an_exception_of_what_is_looped_over_ends_the_bar_and_goes_up(
    place: ProgressPlace,
) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(progress_bar(items()))
    assert_done_once_and_last(place)


def test_an_exception_in_the_block_ends_the_bar_and_goes_up(place: ProgressPlace) -> None:
    with (
        pytest.raises(ValueError, match="broken"),
        progress_bar(total=2, title="Doing", completion_title="Done") as bar,
    ):
        bar.update()
        raise ValueError("broken")
    assert_done_once_and_last(place)
    assert place.sent[-1].title == "Doing"


def test_a_loop_in_a_block_ends_once(place: ProgressPlace) -> None:
    with progress_bar([1, 2]) as bar:
        for _ in bar:
            bar.update(0, subtitle="in it")
    bar.close()
    assert place.sent[-1].current == 2
    assert_done_once_and_last(place)


def test_a_bar_that_is_only_updated_begins_with_that(place: ProgressPlace) -> None:
    bar = progress_bar(total=2)
    bar.update()
    bar.close()
    assert of(place, "current") == [1, 1]
    assert_done_once_and_last(place)


def test_what_has_no_length_is_only_counted(place: ProgressPlace, clock: Clock) -> None:
    for _ in progress_bar((n for n in range(3)), clock=clock):
        clock.now_s += 1
    assert set(of(place, "total") + of(place, "eta_s")) == {None}
    assert place.sent[-1].current == 3


@pytest.mark.parametrize("error", [TypeError, NotImplementedError, OSError])
def test_a_length_that_fails_is_none(place: ProgressPlace, error: type[Exception]) -> None:
    class Stream:
        def __len__(self) -> int:
            raise error("endless")

        def __getitem__(self, index: int) -> int:
            return [1, 2, 3][index]

    assert list(progress_bar(Stream())) == [1, 2, 3]  # type: ignore[call-overload]
    assert place.sent[-1].total is None


def test_a_length_that_is_none_is_none(place: ProgressPlace) -> None:
    class Stream(list[int]):
        def __len__(self) -> int:
            return -1

    assert list(progress_bar(Stream([1, 2]))) == [1, 2]
    assert place.sent[-1].total is None


def test_a_given_total_goes_before_the_length(place: ProgressPlace) -> None:
    list(progress_bar([1, 2], total=5))
    assert place.sent[-1].total == 5


def test_numbers_that_no_message_can_carry_are_the_largest_that_one_can(
    place: ProgressPlace, clock: Clock
) -> None:
    with progress_bar(total=10**400, clock=clock) as bar:
        clock.now_s += 1
        bar.update(10**399)
    assert decode_message(encode(place.sent[-1])) == place.sent[-1]
    assert (place.sent[-1].current, place.sent[-1].total) == (2**63 - 1, 2**63 - 1)


def test_what_has_more_items_than_a_length_can_say_is_only_counted(place: ProgressPlace) -> None:
    for number in progress_bar(range(10**30)):
        if number == 2:
            break
    assert [sent.total for sent in place.sent] == [None] * len(place.sent)


@pytest.mark.usefixtures("place")
def test_nonsense_is_refused_with_its_reason() -> None:
    refused: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (TypeError, "loop over, or total=", lambda: progress_bar()),  # type: ignore[call-overload]
        (ValueError, "negative: -1", lambda: progress_bar(total=-1)),
        (ValueError, "negative: -1", lambda: progress_bar([1], total=-1)),
        (TypeError, "integer", lambda: progress_bar(total=1.5)),  # type: ignore[call-overload]
        (TypeError, "total=5", lambda: progress_bar(5)),  # type: ignore[call-overload]
        (TypeError, "a function", lambda: progress_bar(iter_nothing)),  # type: ignore[call-overload]
        (TypeError, "nothing to loop over", lambda: iter(progress_bar(total=1))),
        (ValueError, "forward, not by -1", lambda: progress_bar(total=1).update(-1)),
        (TypeError, "integer", lambda: progress_bar(total=1).update(0.5)),  # type: ignore[arg-type]
    ]
    for error, reason, ask in refused:
        with pytest.raises(error, match=reason):
            ask()


def iter_nothing() -> None:
    """A function, which cannot be looped over."""


def test_a_bar_is_for_one_loop(place: ProgressPlace) -> None:
    bar = progress_bar([1, 2])
    list(bar)
    with pytest.raises(RuntimeError, match="one for each loop"):
        list(bar)
    assert_done_once_and_last(place)


def test_titles_that_no_message_can_carry_are_escaped(place: ProgressPlace) -> None:
    with progress_bar(total=1, title="file \udcff") as bar:
        bar.update(subtitle="\ud800")
    for message in place.sent:
        assert decode_message(encode(message)) == message
    assert place.sent[-1].title == "file \\udcff"


def test_a_spinner_says_what_goes_on_and_stays(place: ProgressPlace, clock: Clock) -> None:
    with spinner("Loading", "from disk", remove_on_exit=False, clock=clock) as loading:
        clock.now_s += 1
        loading.update(subtitle="from afar")
    assert of(place, "title") == ["Loading"] * 3
    assert of(place, "subtitle") == ["from disk", "from afar", "from afar"]
    assert set(of(place, "total") + of(place, "rate_per_s") + of(place, "eta_s")) == {None}
    assert_done_once_and_last(place)


def test_a_spinner_that_goes_away_ends_without_a_title(place: ProgressPlace) -> None:
    with pytest.raises(ValueError, match="broken"), spinner("Loading", "from disk") as loading:
        raise ValueError("broken")
    loading.update(title="too late")
    assert (place.sent[-1].title, place.sent[-1].subtitle) == ("", "")
    assert_done_once_and_last(place)
