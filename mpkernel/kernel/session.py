"""One session of the embedded kernel: what each of its commands does. `transport` receives the
commands and sends the messages.

control, ui_element ─▶ queue ─▶ the session's thread: run, execute, set values
input ─────────────────────────▶ answers, for threads that wait in `input()`
completion ─▶ a thread of its own
interrupt ─▶ at once, on the dispatcher's thread
"""

from __future__ import annotations

import os
import queue
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from mpkernel.error_texts import message_of, name_of
from mpkernel.errors import ProtocolError
from mpkernel.interrupts.sending import Interrupts, later
from mpkernel.kernel.cell_run import CellRun
from mpkernel.kernel.code import forks
from mpkernel.kernel.code.cells import Cell, future_flags, split, to_rerun
from mpkernel.kernel.code.decoding import decoded
from mpkernel.kernel.code.namespace import new_namespace
from mpkernel.kernel.code.runner import compile_cell, exit_code_of, run, traceback_of
from mpkernel.kernel.code.sources import Sources
from mpkernel.kernel.completer import Completer
from mpkernel.kernel.context import current_place
from mpkernel.kernel.messages import (
    Answer,
    Complete,
    Completions,
    Done,
    Execute,
    Failure,
    InputRequest,
    Interrupt,
    InterruptPending,
    Message,
    RunApp,
    SetValues,
    Status,
    encode,
)
from mpkernel.kernel.process.debugger import leave_debugger
from mpkernel.kernel.shown.console_files import StandardStream
from mpkernel.kernel.shown.display import shortened
from mpkernel.kernel.shown.session_console import SessionConsole
from mpkernel.kernel.transport import Immediate, Transport
from mpkernel.late_logger import late_logger
from mpkernel.own_clock import monotonic

if TYPE_CHECKING:
    from mpkernel.host.hosted_kernel import HostedKernel

__all__ = ["PythonSession"]

logger = late_logger(__name__)

_PENDING_AFTER_S = 0.3
_ENDS_SESSION_WITHIN_S = 1.0

# Together these are less than the smallest `max_frame_bytes` that can be set.
_NAME_BYTES = 1_000
_MESSAGE_BYTES = 16_000
_TRACEBACK_BYTES = 40_000


class PythonSession:
    """The kernel of one client.

    Args:
        kernel: its connection to the client.
        in_place: calls a function with a cell's place set for the calling thread.

    Attributes:
        namespace: the global names of its code.
        interrupts: stops its code.
        console: sends what its code prints.
        last_run: the run of the cell that runs now, or else ran last.
    """

    def __init__(
        self, kernel: HostedKernel, in_place: Callable[[CellRun, Callable[[], None]], None]
    ) -> None:
        self.kernel = kernel
        self._in_place = in_place
        self.namespace = new_namespace(kernel.app)
        self.interrupts = Interrupts()
        self.console = SessionConsole(self)
        self.standard_streams = {
            "stdout": StandardStream("stdout", self._write_past),
            "stderr": StandardStream("stderr", self._write_past),
        }
        self._transport = Transport(kernel, self.interrupts, self._act_now)
        self._answers: queue.Queue[Answer | None] = queue.Queue()
        self._completer = Completer(self.namespace, self.send)
        self._sources = Sources()
        self._cells: list[Cell] = []
        self._flags = 0
        self._runs: dict[str, CellRun] = {}
        self._running = ""
        self.last_run: CellRun | None = None
        self._interrupted_at = float("-inf")
        self._pid = os.getpid()

    def serve(self) -> None:
        """Carry out commands until the session is closed."""
        self.kernel.interruptible_by(self.interrupts.end)
        self.kernel.redirect(self._transport.deliver)
        self.send(Status("idle"))
        while (command := self._transport.take()) is not None:
            self.send(Status("busy"))
            match command:
                case RunApp():
                    self._run_app()
                case Execute():
                    self._execute(Cell(command.cell, command.code, 1))
                case SetValues():
                    self._set_values(self._transport.merged(command.values))
            self.console.flush()
            self._transport.ended()
            self.send(Status("idle"))
        for cell_run in list(self._runs.values()):
            cell_run.over.set()
        self._completer.close()
        self._sources.close()

    def _write_past(self, name: Literal["stdout", "stderr"], text: str) -> int:
        if self._is_fork:
            return cast(int, vars(sys)[name].write(text))
        place = current_place()
        cell_run = place if isinstance(place, CellRun) else self.last_run
        assert cell_run is not None, "code runs in a cell"
        return cell_run.streams[name == "stderr"].write_past(text)

    def send(self, message: Message) -> None:
        """Send to the client, from any thread. Waits while the client is far behind. The messages
        of a closed session are dropped."""
        self._transport.send(message)

    def try_send(self, payload: bytes, then: Callable[[], None] = lambda: None) -> bool:
        """Send a message if the client takes it now, and then call `then`; see
        `Transport.try_send`."""
        return self._transport.try_send(payload, then)

    @property
    def may_wait(self) -> bool:
        """Whether the calling thread runs the session's code and may wait for the client now."""
        place = current_place()
        is_mine = isinstance(place, CellRun) and place.session is self
        return is_mine and not self.kernel.is_inside

    def wait_for_room(self, count: int) -> None:
        """Wait until the client may take `count` bytes."""
        self.kernel.wait_for_room(count)

    def ask(self, prompt: str, *, secret: bool, cell: str) -> str:
        """Ask the client for a line.

        Raises:
            EOFError: the client has no more input, or the session is closed.
        """
        self.console.flush()
        self.send(InputRequest(shortened(prompt, _MESSAGE_BYTES), secret, cell))
        answer = self._answers.get()
        if answer is None:
            self._answers.put(None)
            raise EOFError("the session is closed")
        if answer.text is None:
            raise EOFError("end of input")
        return answer.text

    def _act_now(self, command: Immediate | None) -> None:
        """Called on the dispatcher's thread. It must return at once."""
        match command:
            case None:
                self._answers.put(None)
            case Interrupt():
                self._interrupt()
            case Answer():
                self._answers.put(command)
            case Complete():
                self._complete(command)

    def _interrupt(self) -> None:
        now = monotonic()
        again = now - self._interrupted_at < _ENDS_SESSION_WITHIN_S
        self._interrupted_at = now
        if not self.interrupts.interrupt():
            return
        if again:
            self.kernel.abandon("interrupted twice within a second")
            return
        running = self._running
        later(_PENDING_AFTER_S, lambda: self._tell_pending(running, now))

    def _tell_pending(self, running: str, since: float) -> None:
        if self.interrupts.running and (self._running, self._interrupted_at) == (running, since):
            self.try_send(encode(InterruptPending(running)))

    def _complete(self, command: Complete) -> None:
        try:
            self._completer.put(command)
        except RuntimeError as error:  # no thread is left
            logger.debug("no completions: %s session=%s", error, self.kernel.session_id)
            self.try_send(encode(Completions(command.request, command.cursor, [])))

    def _run_app(self) -> None:
        try:
            with open(self.kernel.app, "rb") as file:
                source = decoded(file.read(), self.kernel.app)
        except (OSError, SyntaxError, UnicodeError) as error:
            self._fail("app", error, traceback_of(error))
            self.send(Done("app", 0.0, "error"))
            return
        self._cells = split(source)
        self._flags = future_flags(self._cells)
        for cell in self._cells:
            if not self._run_cell(cell, self.kernel.app):
                break

    def _execute(self, cell: Cell) -> None:
        self._run_cell(cell, self._sources.add(cell.name, cell.code))

    def _set_values(self, values: dict[str, Any]) -> None:
        self.namespace.update(values)
        for cell in to_rerun(self._cells, values):
            if not self._run_cell(cell, self.kernel.app):
                break

    def _run_cell(self, cell: Cell, filename: str) -> bool:
        """Run a cell, and tell the client what happened. Returns whether to run the next one."""
        before = self._runs.pop(cell.name, None)
        if before is not None:
            before.over.set()
        cell_run = self._runs[cell.name] = self.last_run = CellRun(self, cell.name)
        if before is not None and before.outputs.figures:
            cell_run.outputs.clear()
        self._running = cell.name
        self._interrupted_at = float("-inf")
        began = monotonic()
        outcome: list[Done] = []

        def body() -> None:
            done = self._outcome_of(cell, filename, cell_run, began)
            outcome.append(done)

        self._in_place(cell_run, body)
        self._running = ""
        done = outcome[0]
        try:
            cell_run.outputs.flush()  # an interrupt may have kept a change from being sent
        except ProtocolError as error:  # the outputs are too large for a message
            if done.outcome == "ok":
                self._fail(cell.name, error, str(error))
                done = msgspec.structs.replace(done, outcome="error")
        self.console.flush()
        self.send(done)
        return done.outcome == "ok"

    def _outcome_of(self, cell: Cell, filename: str, cell_run: CellRun, began: float) -> Done:
        def done(outcome: Any, exit_code: int = 0) -> Done:
            return Done(cell.name, monotonic() - began, outcome, exit_code)

        try:
            with self.interrupts.guarded():
                compiled = compile_cell(cell, filename, flags=self._flags)
                self._sources.compiled(filename, compiled.codes)
                scope = forks.ending_children(filename)
                value = run(compiled, self.namespace, self.interrupts, scope)
                if value is not None:
                    cell_run.outputs.append(value)
            return done("ok")
        except SystemExit as error:
            exit_code, text = exit_code_of(error)
            if text:
                self._write_to_stderr(text)
            return done("exit", exit_code)
        except KeyboardInterrupt as error:
            self._fail(cell.name, error, traceback_of(error, filename))
            return done("interrupted")
        except BaseException as error:  # noqa: BLE001 (it is the user's, and told)
            self._fail(cell.name, error, traceback_of(error, filename))
            return done("error")
        finally:
            leave_debugger()

    @property
    def _is_fork(self) -> bool:
        return os.getpid() != self._pid

    def _write_to_stderr(self, text: str) -> None:
        try:
            sys.stderr.write(text)
        except BaseException:  # noqa: BLE001 (what the user set it to is closed, None, or fails)
            self._write_past("stderr", text)

    def _fail(self, cell: str, error: BaseException, text: str) -> None:
        self.console.flush()
        failure = Failure(
            cell,
            shortened(name_of(error), _NAME_BYTES),
            shortened(message_of(error), _MESSAGE_BYTES),
            shortened(text, _TRACEBACK_BYTES),
        )
        self.send(failure)
