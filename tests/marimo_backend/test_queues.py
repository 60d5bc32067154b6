"""marimo's two queues of commands, read by marimo's own reader."""

from __future__ import annotations

import pickle
import queue
from typing import Any

import pytest
from marimo._runtime.commands import (
    InvokeFunctionCommand,
    StopKernelCommand,
    UpdateUIElementCommand,
)
from marimo._runtime.utils.set_ui_element_request_manager import SetUIElementRequestManager

from mpkernel.marimo_backend.host.marimo_kernel import ControlQueue, MergeQueue, Pickled


class Kernel:
    """The part of a kernel that a queue uses."""

    stopped = False

    def __init__(self) -> None:
        self.taken_bytes = 0
        self.progress: list[tuple[int, int]] = []

    def taken(self, count: int) -> None:
        self.taken_bytes += count

    def progressed(self, begun: int, done: int) -> None:
        self.progress.append((begun, done))


class Reader:
    """Takes commands as marimo's kernel does."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self.control = ControlQueue(self.kernel)  # type: ignore[arg-type]
        self.manager = SetUIElementRequestManager(MergeQueue(self.control))

    def put(self, command: Any) -> None:
        self.control.put(Pickled(pickle.dumps(command)))

    def next(self) -> list[Any]:
        """The commands that the kernel carries out next as one."""
        command = self.control.get(block=False)
        if isinstance(command, UpdateUIElementCommand):
            return list(self.manager.process_request(command))
        return [command]


def update(value: int) -> UpdateUIElementCommand:
    return UpdateUIElementCommand(["a-0"], [value])


def call() -> InvokeFunctionCommand:
    return InvokeFunctionCommand("call", "ns", "f", {})


def test_updates_in_a_row_are_done_as_one_and_each_is_counted_when_it_begins() -> None:
    reader = Reader()
    for value in (1, 2, 3):
        reader.put(update(value))
    (merged,) = reader.next()
    assert merged.values == [3]
    assert reader.kernel.progress[-1] == (3, 0)
    with pytest.raises(queue.Empty):
        reader.next()
    assert reader.kernel.progress[-1] == (3, 3)
    assert reader.kernel.taken_bytes > 0


def test_no_update_overtakes_another_command() -> None:
    reader = Reader()
    for command in (update(1), call(), update(2), update(3)):
        reader.put(command)
    done = [reader.next() for _ in range(3)]
    assert [type(commands[0]).__name__ for commands in done] == [
        "UpdateUIElementCommand",
        "InvokeFunctionCommand",
        "UpdateUIElementCommand",
    ]
    assert (done[0][0].values, done[2][0].values) == ([1], [3])
    assert reader.kernel.progress[-1] == (4, 2)


def test_commands_of_the_kernel_itself_are_done_and_not_counted() -> None:
    reader = Reader()
    own = update(1)
    reader.control.put(own)
    MergeQueue(reader.control).put(own)  # marimo puts its own into both
    reader.put(update(2))
    reader.control.put(StopKernelCommand())
    (merged,) = reader.next()
    assert merged.values == [2]
    assert reader.kernel.progress[-1] == (1, 0)
    assert isinstance(reader.next()[0], StopKernelCommand)


def test_what_marimo_remembers_of_updates_does_not_grow() -> None:
    reader = Reader()
    for value in range(100):
        reader.put(update(value))
        if value % 3 == 0:
            reader.next()
    with pytest.raises(queue.Empty):
        while True:
            reader.next()
    assert reader.manager._processed_tokens == set()
