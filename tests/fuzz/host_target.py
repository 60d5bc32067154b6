"""The host's side: a real `Dispatcher` with kernels on threads, fed as a server might feed it.

It runs in this process, for speed. So what ends a host's process is caught here: the two functions
that leave are replaced, and nothing else is.
"""

from __future__ import annotations

import multiprocessing
import os
import selectors
import sys
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

from mpkernel.errors import ProtocolError
from mpkernel.host import control_pipe, ending
from mpkernel.host import main as host
from mpkernel.wire.frames import Channel, FrameDecoder
from mpkernel.wire.messages import decode_up
from tests.fuzz.held import unread_bytes

__all__ = ["HostTarget"]

_END_S = 30.0
_READ_BYTES = 64 * 1024


class _Left(BaseException):
    """Raised where the host would end its process."""


class HostTarget:
    """Takes inputs, one after the other."""

    has_client = False

    def __init__(self) -> None:
        self._sink = _Sink()
        self._path = list(sys.path)
        self._argv = list(sys.argv)
        self._importers = set(sys.path_importer_cache)
        self._in_order, self._at_once = host.leave_in_order, host.leave_at_once
        host.leave_in_order = host.leave_at_once = _left
        self._in_a_row = control_pipe._IN_A_ROW
        control_pipe._IN_A_ROW = sys.maxsize  # only the dispatcher reads, for `_Life.hear` to count
        self._threads_faults: list[BaseException] = []
        self._excepthook, threading.excepthook = threading.excepthook, self._on_thread_fault

    def run(self, pieces: Sequence[tuple[int, bytes]]) -> tuple[str, int]:
        """Feed one input. Returns what became of it, and how many pieces were taken.

        Raises:
            Whatever went wrong.
        """
        life = _Life(self._sink)
        taken = 0
        try:
            for _, data in pieces:
                life.hear(data)
                taken += 1
            outcome = "taken"
        except ProtocolError as error:
            outcome = f"PROTOCOL: {error}"
        except _Left:
            outcome = "left"
        finally:
            life.end()
            sys.path[:], sys.argv[:] = self._path, self._argv
            for path in sys.path_importer_cache.keys() - self._importers:
                del sys.path_importer_cache[path]
        self._sink.raise_fault()
        if self._threads_faults:
            faults, self._threads_faults = self._threads_faults, []
            raise faults[0]
        return outcome, taken

    def close(self) -> None:
        """End the threads that the target has started."""
        self._sink.close()
        host.leave_in_order, host.leave_at_once = self._in_order, self._at_once
        threading.excepthook = self._excepthook
        control_pipe._IN_A_ROW = self._in_a_row

    def _on_thread_fault(self, arguments: threading.ExceptHookArgs) -> None:
        self._threads_faults.append(arguments.exc_value or RuntimeError(str(arguments)))


class _Life:
    """One dispatcher."""

    def __init__(self, sink: _Sink) -> None:
        self._control, self._host_control = multiprocessing.Pipe(duplex=True)
        self._stream, self._host_stream = multiprocessing.Pipe(duplex=True)
        self._sink = sink
        for end in (self._control, self._stream):
            os.set_blocking(end.fileno(), False)
            self._sink.add(end.fileno())
        self._threads_before = set(threading.enumerate())
        self._dispatcher = host.Dispatcher(
            self._host_control.fileno(), self._host_stream.fileno(), os.getpid()
        )

    def hear(self, data: bytes) -> None:
        """Have the dispatcher take this, read by read."""
        rest = memoryview(data)
        end, fd = self._host_control.fileno(), self._control.fileno()
        while rest or unread_bytes(end):
            if rest:
                rest = rest[os.write(fd, rest[:_READ_BYTES]) :]
            self._dispatcher.turn()

    def end(self) -> None:
        """Have every kernel end, as with a `StopKernel` for each, and all that is left."""
        dispatcher = self._dispatcher
        deadline = time.monotonic() + _END_S
        kernels = dispatcher._kernels
        while threads := list(set(threading.enumerate()) - self._threads_before):
            if kernels is not None:
                for number in list(kernels._kernels):
                    kernels.stop(number, 0.0)
                kernels.stopper.run_due()
            threads[0].join(0.002)
            if time.monotonic() > deadline:
                raise AssertionError(f"threads that do not end: {threads}")
        for hook in ending._leave_hooks:
            hook()
        ending._leave_hooks.clear()
        self._sink.remove(self._control.fileno())
        self._sink.remove(self._stream.fileno())
        for fd in (dispatcher._server_fd, dispatcher._control._wake_fd):
            if fd is not None:
                os.close(fd)
        for end in (self._control, self._host_control, self._stream, self._host_stream):
            end.close()


class _Sink:
    """Reads what hosts say, on a thread. All of it makes sense, or `raise_fault` raises."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the decoders, and held while one reads
        self._decoders: dict[int, FrameDecoder] = {}
        self._selector = selectors.DefaultSelector()
        self._fault: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sink")
        self._thread.start()

    def add(self, fd: int) -> None:
        """Read there from now on."""
        with self._lock:
            self._decoders[fd] = FrameDecoder()
            self._selector.register(fd, selectors.EVENT_READ)

    def remove(self, fd: int) -> None:
        """Stop reading from this descriptor."""
        with self._lock:
            self._selector.unregister(fd)
            del self._decoders[fd]

    def raise_fault(self) -> None:
        """Raise what went wrong, if anything did."""
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._thread.join()
        self._selector.close()

    def _run(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select(0.1):
                with self._lock:
                    self._read(key.fd)

    def _read(self, fd: int) -> None:
        decoder = self._decoders.get(fd)
        if decoder is None:
            return
        try:
            count = os.readv(fd, [decoder.get_buffer()])
            for frame in decoder.received(count):
                if frame.channel is Channel.MANAGEMENT:
                    decode_up(frame.payload)
        except BlockingIOError:  # it was another life's
            return
        except BaseException as fault:  # noqa: BLE001 (raised by `raise_fault`)
            self._fault = fault
            self._decoders[fd] = FrameDecoder()


def _left(*_: object) -> NoReturn:
    raise _Left
