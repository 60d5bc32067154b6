"""Whatever is sent and done, in whatever order: a click is carried out at most once, and each input
has its last value."""

from __future__ import annotations

import pickle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from marimo._runtime.commands import CreateNotebookCommand, UpdateUIElementCommand

from mpkernel.marimo_backend.crossing import Click, RestoredValue
from mpkernel.marimo_backend.server.marimo_journal import MarimoJournal
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel

SLIDERS = ("s-0", "s-1")
BUTTONS = ("b-0", "b-1")

steps = st.one_of(
    st.tuples(st.just("set"), st.sampled_from([*SLIDERS, *BUTTONS])),
    st.tuples(st.just("run"), st.integers(0, 3)),
    st.tuples(st.just("die"), st.booleans()),
    st.tuples(st.just("move"), st.none()),
)


def new_journal() -> MarimoJournal:
    return MarimoJournal(KernelSpec(entry="x:y"), {}, max_bytes=1 << 20)


class Kernel:
    """An app of two sliders and two buttons, which does what it is sent as marimo would.

    Attributes:
        clicks: those that were made, in all of its lives.
        values: of the sliders, in this life.
    """

    def __init__(self, journal: MarimoJournal) -> None:
        self.clicks: list[int] = []
        self.values: dict[str, int] = {}
        self._journal = journal
        self._queue: list[Any] = []
        self._begun = 0

    def send(self, command: Any) -> None:
        self._queue.append(command)
        self._journal.sent(Channel.CONTROL, command)

    def run(self, count: int) -> None:
        """Have done what had begun, and begin `count` commands more."""
        begun = min(self._begun + count, len(self._queue))
        self._journal.progressed(begun, self._begun)
        for command in self._queue[self._begun : begun]:
            self._do(command)
        self._begun = begun

    def die(self, *, guilty: bool) -> None:
        rebuilt = self._journal.rebuild(without_running=guilty)
        self._queue = [pickle.loads(payload) for _, payload in rebuilt.messages]
        self._begun = 0
        self.values = {}

    def move(self) -> None:
        """The server dies, too: another one goes on with what the journal has kept."""
        kept = self._journal.kept()
        self._journal = new_journal()
        self._journal.load(kept)
        self.die(guilty=False)

    def _do(self, command: Any) -> None:
        instantiates = isinstance(command, CreateNotebookCommand)
        update = command.set_ui_element_value_request if instantiates else command
        for object_id, value in update.ids_and_values:
            if instantiates and object_id in SLIDERS:
                assert isinstance(value, RestoredValue)
                self.values[object_id] = value.value
            elif not instantiates and object_id in BUTTONS:
                self.clicks.append(value.value if isinstance(value, Click) else value)
            elif not instantiates and not isinstance(value, Click):
                self.values[object_id] = value


@given(st.lists(steps, max_size=40))
def test_clicks_are_made_once_at_most_and_the_last_value_stays(
    script: list[tuple[str, Any]],
) -> None:
    kernel = Kernel(new_journal())
    kernel.send(CreateNotebookCommand((), (), UpdateUIElementCommand([], []), True))
    expected: dict[str, int] = {}
    made = 0
    has_guilty = False
    for count, (step, argument) in enumerate(script, start=1):
        match step:
            case "set":
                kernel.send(UpdateUIElementCommand([argument], [count]))
                if argument in SLIDERS:
                    expected[argument] = count
                else:
                    made += 1
            case "run":
                kernel.run(argument)
            case "die":
                kernel.die(guilty=argument)
                has_guilty |= argument
            case "move":
                kernel.move()
    kernel.run(len(script) + 1)
    assert len(set(kernel.clicks)) == len(kernel.clicks)
    assert len(kernel.clicks) == made  # each had begun before a death, or begins after it
    if not has_guilty:
        assert kernel.values == expected
    for object_id, value in kernel.values.items():
        assert value <= expected[object_id]
