"""marimo's kernel on a thread of an app host.

`run` is the entry that the server names. The server pickles the commands that it sends, and a host
trusts its server. marimo's messages to the page are bytes already.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import threading
from collections import deque
from typing import Any, NamedTuple

from mpkernel.app_copy import path_here
from mpkernel.confinement.surroundings import own_cache
from mpkernel.host import console
from mpkernel.host.hosted_kernel import HostedKernel
from mpkernel.host.kernel import Kernel, hosted_half
from mpkernel.interrupts.sending import Interrupts
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.false_warning import leave_out_false_warning
from mpkernel.marimo_backend.host import descriptors, file_storage, interrupts, restoring
from mpkernel.marimo_backend.host.caches import cache_in
from mpkernel.marimo_backend.host.console_proxy import make_proxy
from mpkernel.marimo_backend.host.embedded_apps import name_embedded_apps
from mpkernel.marimo_backend.host.entry_points import keep_entry_points
from mpkernel.marimo_backend.url_pattern import compile_url_pattern_late
from mpkernel.quick_imports import no_garbage_collection
from mpkernel.wire.frames import Channel, Message

__all__ = ["ControlQueue", "MergeQueue", "Pickled", "run"]

logger = logging.getLogger(__name__)

_process_lock = threading.Lock()
_process_prepared = False


def run(given: Kernel) -> None:
    """Run marimo's kernel for one session until it is closed. marimo puts the notebook's
    folder into the import path itself, before the folders of its setting `pythonpath`."""
    kernel = hosted_half(given)
    _prepare_process()
    file_storage.bind_thread(kernel.files)
    restoring.bind_thread(kernel)
    interruptible = interrupts.bind_thread(kernel)
    stop = seam.host("StopKernelCommand")
    control = ControlQueue(kernel)
    queues: dict[Channel, CommandQueue] = {
        Channel.CONTROL: control,
        Channel.COMPLETION: CommandQueue(kernel),
        Channel.INPUT: CommandQueue(kernel),
    }

    def deliver(message: Message | None) -> None:
        if message is not None:
            queues[message.channel].put(Pickled(message.payload))
            return
        queues[Channel.CONTROL].put(stop())
        queues[Channel.INPUT].put(_Closed())

    arguments = pickle.loads(kernel.args)
    metadata = arguments["app_metadata"]
    if metadata.filename is not None:
        metadata.filename = path_here(metadata.filename)
    if not kernel.files.enabled:
        arguments["virtual_file_storage"] = None
    if arguments["redirect_console_to_browser"]:
        descriptors.bind_thread(kernel)
    kernel.redirect(deliver)
    with interrupts.ending_by_interrupt(kernel), descriptors.released(kernel):
        seam.host("launch_kernel")(
            control_queue=control,
            set_ui_element_queue=MergeQueue(control),
            completion_queue=queues[Channel.COMPLETION],
            input_queue=queues[Channel.INPUT],
            stream_queue=OutputQueue(kernel, interruptible),
            socket_addr=None,
            is_edit_mode=False,
            interrupt_queue=None,
            is_ipc=False,
            **arguments,
        )


def _prepare_process() -> None:
    """Prepare the process, once, before its first kernel."""
    global _process_prepared
    with _process_lock, no_garbage_collection():
        if _process_prepared:
            return
        compile_url_pattern_late()
        seam.host("launch_kernel")  # importing it takes longer than all the rest
        seam.host("register_formatters")()
        console.install(make_proxy)
        leave_out_false_warning()
        file_storage.store_by_session()
        cache = own_cache()
        if cache is not None:
            cache_in(os.path.join(cache, "marimo"))
        restoring.restore_elements()
        name_embedded_apps()
        keep_entry_points()
        seam.parse_again_if_disturbed()
        seam.parse_notebooks_once()
        interrupts.interrupt_commands()
        seam.host("ThreadSafeStream").write = _write_in_order
        _process_prepared = True


def _write_in_order(stream: Any, message: bytes) -> None:
    """`ThreadSafeStream.write` without marimo's lock.

    A thread renders the whole output of its cell and then writes it. If threads waited for a lock
    in between, one could overtake another, and an older output would be shown last. The stream here
    needs no lock: it takes messages as they come.
    """
    try:
        stream.pipe.send(message)
    except OSError as error:
        logger.debug("the server is gone; it does not take the output: %s", error)


class Pickled(NamedTuple):
    """A command as the Pipe delivered it."""

    payload: bytes


class _Closed(NamedTuple):
    pass


class CommandQueue:
    """One of marimo's command queues: commands from the Pipe, and those that the kernel puts
    itself."""

    def __init__(self, kernel: HostedKernel) -> None:
        self._kernel = kernel
        self._items: queue.Queue[Any] = queue.Queue()

    def put(self, item: Any, /, block: bool = True, timeout: float | None = None) -> None:
        self._items.put(item, block, timeout)

    def put_nowait(self, item: Any, /) -> None:
        self._items.put_nowait(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next command.

        Raises:
            queue.Empty: as `queue.Queue` does.
            EOFError: the session is closed; this ends an `input()` of the kernel that waits.
        """
        item = self._items.get(block, timeout)
        if isinstance(item, _Closed):
            raise EOFError("the session is closed")
        return self._received(item.payload) if isinstance(item, Pickled) else item

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def empty(self) -> bool:
        return self._items.empty()

    def _received(self, payload: bytes) -> Any:
        self._kernel.taken(len(payload))
        return pickle.loads(payload)


class ControlQueue(CommandQueue):
    """The queue whose commands the kernel runs one after the other: when it asks for the next, it
    has done those before. The client's commands are counted, for the journal."""

    def __init__(self, kernel: HostedKernel) -> None:
        super().__init__(kernel)
        self._stop = seam.host("StopKernelCommand")
        self._updates = (seam.host("UpdateUIElementCommand"), seam.host("ModelCommand"))
        self._peeked: _Command | None = None
        self._again: deque[Any] = deque()
        self._begun = self._done = 0

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """See `CommandQueue.get`."""
        if self._done < self._begun:
            self._done = self._begun
            if self.empty():
                self._kernel.progressed(self._begun, self._done)
        if self._kernel.stopped:
            return self._stop()  # the session is closed: drop the commands that wait
        if self._peeked is None:
            self._peeked = _opened(self._items.get(block, timeout))
        return self._begin()

    def empty(self) -> bool:
        return self._peeked is None and self._items.empty()

    def has_update(self) -> bool:
        """Whether an update follows the one that `get` gave, with no other command between."""
        if self._again:
            return True
        if self._peeked is None and not self._items.empty():
            self._peeked = _opened(self._items.get_nowait())
        return self._peeked is not None and isinstance(self._peeked.command, self._updates)

    def get_update(self) -> Any:
        """The next update, which the kernel carries out together with the one before. `get` returns
        each of these updates once more, also the first: marimo expects every update in two queues,
        and skips it the second time.

        Raises:
            queue.Empty: no update follows.
        """
        if not self.has_update():
            raise queue.Empty
        return self._again.popleft() if self._again else self._begin()

    def _begin(self) -> Any:
        """Take the command that `has_update` has only looked at."""
        assert self._peeked is not None
        (command, payload_bytes), self._peeked = self._peeked, None
        if isinstance(command, self._updates):
            self._again.append(command)
        if payload_bytes is not None:
            self._kernel.taken(payload_bytes)
            self._begun += 1
            self._kernel.progressed(self._begun, self._done)
        return command


class _Command(NamedTuple):
    """A command of a client, or, without `payload_bytes`, of the kernel itself."""

    command: Any
    payload_bytes: int | None


def _opened(item: Any) -> _Command:
    if isinstance(item, Pickled):
        return _Command(pickle.loads(item.payload), len(item.payload))
    return _Command(item, None)


class MergeQueue:
    """marimo's second queue, which holds updates alone: marimo carries out all that are in it as
    one. Here they are taken from the first queue, so that each is counted when it begins."""

    def __init__(self, control: ControlQueue) -> None:
        self._control = control

    def put(self, item: Any, /, block: bool = True, timeout: float | None = None) -> None:
        """Does nothing: marimo puts the same update into the first queue, too."""

    def put_nowait(self, item: Any, /) -> None:
        """Does nothing, as `put`."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        del block, timeout
        return self._control.get_update()

    def get_nowait(self) -> Any:
        return self._control.get_update()

    def empty(self) -> bool:
        return not self._control.has_update()


class OutputQueue:
    """The queue for messages of marimo's kernel. `put` waits when the session's window is full."""

    def __init__(self, kernel: HostedKernel, interrupts: Interrupts) -> None:
        self._kernel = kernel
        self._interrupts = interrupts

    def put(self, item: bytes, /, block: bool = True, timeout: float | None = None) -> None:
        del block, timeout
        with self._interrupts.shield():
            self._kernel.send(item)

    def put_nowait(self, item: bytes, /) -> None:
        self.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> bytes:
        raise NotImplementedError("output can only be put")

    def get_nowait(self) -> bytes:
        raise NotImplementedError("output can only be put")

    def empty(self) -> bool:
        return True
