"""What a client and the embedded kernel say to each other: tagged msgspec Structs, in msgpack.

Down go `RunApp`, `Execute`, `Interrupt` (control channel), `SetValues` (ui_element), `Complete`
(completion) and `Answer` (input). Up, all on the stream channel, come the others.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mpkernel.errors import ProtocolError
from mpkernel.wire.messages import UNDECODABLE, names_of

__all__ = [
    "Answer",
    "Command",
    "Complete",
    "Completions",
    "Console",
    "Done",
    "Execute",
    "Failure",
    "Figure",
    "InputRequest",
    "Interrupt",
    "InterruptPending",
    "Message",
    "Outputs",
    "Progress",
    "Restarted",
    "RunApp",
    "SetValues",
    "Status",
    "decode_command",
    "decode_message",
    "encode",
]


class RunApp(msgspec.Struct, tag="run_app", frozen=True):
    """Run all cells of the app, in file order, until one fails."""


class Execute(msgspec.Struct, tag="execute", frozen=True):
    """Run code in the session's namespace.

    Attributes:
        code: statements. The value of a last expression is shown.
        cell: the name that messages about it have.
    """

    code: str
    cell: str


class SetValues(msgspec.Struct, tag="set_values", frozen=True):
    """Assign names, then run again, in file order, the cells that read them and those that read
    what these define. Sets that wait behind a running cell are merged.

    Attributes:
        values: by name; what msgpack carries.
    """

    values: dict[str, Any]


class Complete(msgspec.Struct, tag="complete", frozen=True):
    """How could the name before the cursor go on? Answered while a cell runs, too.

    Attributes:
        request: a number by which the client knows the answer.
        code: the text that is edited.
        cursor: how many characters (code points) of it stand before the cursor.
    """

    request: int
    code: str
    cursor: int


class Answer(msgspec.Struct, tag="answer", frozen=True):
    """The line that an `InputRequest` asked for, without its end; None is the end of input."""

    text: str | None


class Interrupt(msgspec.Struct, tag="interrupt", frozen=True):
    """Stop what runs, as Ctrl-C does. A second one within a second ends the session."""


class Status(msgspec.Struct, tag="status", frozen=True):
    """Whether a command runs. Sent at each change, and once when the kernel is ready.

    Attributes:
        state: "busy" from before the first cell of a command until after its last one's `Done`,
            else "idle".
    """

    state: Literal["idle", "busy"]


class Console(msgspec.Struct, tag="console", frozen=True):
    """Text that was printed. Several prints may come in one message.

    Also what was written to descriptors 1 and 2 (`os.write`, C code, subprocesses) while this was
    the only session of the process that ran. That has no order with what was printed, and may come
    up to about 0.1 s after its cell's `Done`; where more comes at once than is taken, the rest is
    left out and the text says so.

    Attributes:
        stream: where it was written.
        text: as it was written; a line may come in several messages.
        cell: which cell wrote it.
    """

    stream: Literal["stdout", "stderr"]
    text: str
    cell: str


class Figure(msgspec.Struct, frozen=True):
    """One thing to show.

    Attributes:
        media_type: what it is, such as "text/plain" or "image/png".
        data: the text itself, base64 of it for binary media types; a URL where `is_url`.
        is_url: whether the data was so large that it was made a virtual file. Default: it was not.
    """

    media_type: str
    data: str
    is_url: bool = False


class Outputs(msgspec.Struct, tag="outputs", frozen=True):
    """All that a cell shows now, instead of what it showed before.

    Attributes:
        cell: which.
        figures: from top to bottom; empty when it shows nothing any more.
    """

    cell: str
    figures: list[Figure]


class Failure(msgspec.Struct, tag="failure", frozen=True):
    """An exception ended a cell. The cell's `Done` follows.

    Attributes:
        cell: which; "app" when the app's file could not be read.
        error: the qualified name of the exception's class, without its module.
        message: the exception's text. Of more than 16,000 bytes, the middle is left out.
        traceback: as Python prints it, without the lines of the kernel itself. Of more than 40,000
            bytes, the middle is left out.
    """

    cell: str
    error: str
    message: str
    traceback: str


class InputRequest(msgspec.Struct, tag="input_request", frozen=True):
    """The code waits for an `Answer`: it called `input()` or `getpass.getpass()`.

    Attributes:
        prompt: what to ask. Of more than 16,000 bytes, the middle is left out.
        secret: whether the answer must not be shown while it is typed.
        cell: which cell asks.
    """

    prompt: str
    secret: bool
    cell: str


class Progress(msgspec.Struct, tag="progress", frozen=True):
    """The state of a progress bar.

    Attributes:
        id: which bar of the session.
        cell: of which cell.
        title, subtitle: what to write at it.
        current, total: how many are done, of how many; `total` is None for a spinner.
        rate_per_s: how many a second; None when not known, or not to be shown.
        eta_s: how many seconds it will still take; None when not known, or not to be shown.
        elapsed_s: how many it took until now.
        done: whether this is the last of it.
    """

    id: str
    cell: str
    title: str
    subtitle: str
    current: int
    total: int | None
    rate_per_s: float | None
    eta_s: float | None
    elapsed_s: float
    done: bool


class Done(msgspec.Struct, tag="done", frozen=True):
    """A cell ended.

    Attributes:
        cell: which.
        elapsed_s: how many seconds it ran.
        outcome: "ok", "error" (a `Failure` came before), "interrupted", or "exit" for
            `SystemExit`.
        exit_code: for "exit", what `SystemExit` carried, as a process would end with it; else 0.
    """

    cell: str
    elapsed_s: float
    outcome: Literal["ok", "error", "interrupted", "exit"]
    exit_code: int = 0


class Completions(msgspec.Struct, tag="completions", frozen=True):
    """The answer to a `Complete`: the names that fit before its cursor.

    Attributes:
        request: the number of the `Complete`.
        start: how many characters of its `code` stand before what a match replaces. The
            replacement ends at the cursor.
        matches: at most 500 names, sorted, those that begin with an underscore last; none within
            strings and comments.
    """

    request: int
    start: int
    matches: list[str]


class InterruptPending(msgspec.Struct, tag="interrupt_pending", frozen=True):
    """An interrupt has not stopped the code within 0.3 s: the code is in a call that no interrupt
    reaches (a C call, a raw lock), and stops when that call returns.

    Attributes:
        cell: which cell runs.
    """

    cell: str


class Restarted(msgspec.Struct, tag="restarted", frozen=True):
    """The app's process ended, and the session is being brought back on another: what the
    session showed before is void, and what it shows now follows. The server sends this message.

    Attributes:
        reason: how the process ended, in a sentence.
        lost: what is not brought back, as a text for the user.
        guilty: whether a command of this session ended it. It was left out.
    """

    reason: str
    lost: list[str]
    guilty: bool


Command = RunApp | Execute | SetValues | Complete | Answer | Interrupt
Message = (
    Status
    | Console
    | Outputs
    | Failure
    | InputRequest
    | Progress
    | Done
    | Completions
    | InterruptPending
    | Restarted
)

_encoder = msgspec.msgpack.Encoder()
_command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_message_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Command | Message) -> bytes:
    """A command or message as the payload of a frame.

    Raises:
        TypeError: a value of `SetValues` is nothing that msgpack can carry.
    """
    return _encoder.encode(message)


def decode_command(payload: bytes) -> Command:
    """Read a client's command.

    Raises:
        ProtocolError: the payload is not one of the commands above.
    """
    try:
        return _command_decoder.decode(payload)
    except UNDECODABLE as error:
        raise ProtocolError(
            f"a payload of {len(payload)} bytes is not a command that the embedded kernel takes "
            f"({names_of(Command)}): {error}"
        ) from error


def decode_message(payload: bytes) -> Message:
    """Read a kernel's message.

    Raises:
        ProtocolError: the payload is not one of the messages above.
    """
    try:
        return _message_decoder.decode(payload)
    except UNDECODABLE as error:
        raise ProtocolError(
            f"a payload of {len(payload)} bytes is not a message of the embedded kernel "
            f"({names_of(Message)}): {error}"
        ) from error
