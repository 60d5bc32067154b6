"""marimo's kernel on a thread of an app host.

`run` is the entry that the server names. The commands that come down are pickled by the server,
which a host trusts; what goes up is bytes already.
"""

from __future__ import annotations

import pickle
import queue
import threading
from typing import Any, NamedTuple

from mpkernel.host import console
from mpkernel.host.kernels import Kernel
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.console import make_proxy
from mpkernel.marimo_backend.files import bind_thread, store_by_session
from mpkernel.wire.frames import Channel, Message

__all__ = ["run"]

_process_lock = threading.Lock()
_process_prepared = False


def run(kernel: Kernel) -> None:
    """Run marimo's kernel for one session until it is closed."""
    _prepare_process()
    bind_thread(kernel.files)
    stop = seam.host("StopKernelCommand")
    queues = {
        Channel.CONTROL: ControlQueue(kernel),
        Channel.UI_ELEMENT: CommandQueue(kernel),
        Channel.COMPLETION: CommandQueue(kernel),
        Channel.INPUT: CommandQueue(kernel),
    }

    def deliver(message: Message | None) -> None:
        if message is not None:
            queues[message.channel].put(_Pickled(message.payload))
            return
        queues[Channel.CONTROL].put(stop())
        queues[Channel.INPUT].put(_Closed())

    arguments = pickle.loads(kernel.args)
    if not kernel.files.enabled:
        arguments["virtual_file_storage"] = None
    kernel.redirect(deliver)
    seam.host("launch_kernel")(
        control_queue=queues[Channel.CONTROL],
        set_ui_element_queue=queues[Channel.UI_ELEMENT],
        completion_queue=queues[Channel.COMPLETION],
        input_queue=queues[Channel.INPUT],
        stream_queue=OutputQueue(kernel),
        socket_addr=None,
        is_edit_mode=False,
        interrupt_queue=None,
        is_ipc=False,
        **arguments,
    )


def _prepare_process() -> None:
    """What a process needs once, before its first kernel."""
    global _process_prepared
    with _process_lock:
        if _process_prepared:
            return
        seam.host("register_formatters")()
        console.install(make_proxy)
        store_by_session()
        _process_prepared = True


class _Pickled(NamedTuple):
    payload: bytes


class _Closed(NamedTuple):
    pass


class CommandQueue:
    """One of marimo's command queues: what came down the Pipe, and what the kernel puts itself."""

    def __init__(self, kernel: Kernel) -> None:
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
            EOFError: the session is closed; for a kernel that waits in `input()`.
        """
        item = self._items.get(block, timeout)
        if isinstance(item, _Closed):
            raise EOFError("the session is closed")
        return self._received(item.payload) if isinstance(item, _Pickled) else item

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def empty(self) -> bool:
        return self._items.empty()

    def _received(self, payload: bytes) -> Any:
        self._kernel.taken(len(payload))
        return pickle.loads(payload)


class ControlQueue(CommandQueue):
    """The queue whose commands the kernel runs one after the other: who asks for the next has done
    the one before. The client's are counted, for its journal."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._begun = self._done = 0

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """See `CommandQueue.get`."""
        if self._done < self._begun:
            self._done = self._begun
            if self._items.empty():
                self._kernel.progressed(self._begun, self._done)
        return super().get(block, timeout)

    def _received(self, payload: bytes) -> Any:
        self._begun += 1
        self._kernel.progressed(self._begun, self._done)
        return super()._received(payload)


class OutputQueue:
    """Where marimo's kernel puts its messages. Waits when the session's window is full."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def put(self, item: bytes, /, block: bool = True, timeout: float | None = None) -> None:
        del block, timeout
        self._kernel.send(item)

    def put_nowait(self, item: bytes, /) -> None:
        self._kernel.send(item)

    def get(self, block: bool = True, timeout: float | None = None) -> bytes:
        raise NotImplementedError("output can only be put")

    def get_nowait(self) -> bytes:
        raise NotImplementedError("output can only be put")

    def empty(self) -> bool:
        return True
