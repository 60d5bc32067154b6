"""The messages of the management channel: tagged msgspec Structs, in msgpack.

Down (server to host) go `Warm`, `Setup`, `CreateKernel`, `StopKernel`, `Credit`, `FilesFreed`,
`GiveUpFree`, `ConsoleText`, `Ping` and `Shutdown`. Up come, on the control Pipe, `Warmed`, `Ready`
and `Pong`; and on the stream Pipe, in order with the session's output, `Preparing`, `Prepared`,
`NotPrepared`, `UnfitForHost`, `Hello`, `KernelCreated`, `KernelExited`, `Running`, `FileStored`,
`FileRemoved`, `ShortOfMemory`, `WantConsole`, `WantDrain` and `Credit`. The frame that carries a
message says which session the message is about. Those that a process sends before it is a host are
in `before_host`; `NotConfined` is one of them, and comes on the control Pipe.
"""

from __future__ import annotations

from types import UnionType
from typing import Literal, get_args

import msgspec

from mpkernel.errors import ProtocolError
from mpkernel.wire.before_host import (
    Hello,
    NotConfined,
    NotPlaced,
    NotPrepared,
    Prepared,
    Preparing,
    UnfitForHost,
)
from mpkernel.wire.bounds import Count, Duration, FileSize, FrameSize, Key, Room
from mpkernel.wire.confinement import Confinement
from mpkernel.wire.for_people import ForPeople

__all__ = [
    "ConsoleText",
    "CreateKernel",
    "Credit",
    "DownMessage",
    "FilesFreed",
    "FileRemoved",
    "FileStorage",
    "FileStored",
    "KernelCreated",
    "KernelExited",
    "Ping",
    "Pong",
    "Ready",
    "Running",
    "Setup",
    "Shutdown",
    "StopKernel",
    "Stopping",
    "UNDECODABLE",
    "UpMessage",
    "WantConsole",
    "WantDrain",
    "Warm",
    "Warmed",
    "decode_down",
    "decode_up",
    "encode",
    "names_of",
]

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that do not decode. `RecursionError` is for values that are nested
too deeply."""


class FileStorage(msgspec.Struct, frozen=True):
    """How a host keeps virtual files. `Settings` explains each of these."""

    kind: Literal["shared_memory", "temp_file"] | None
    fallback: Literal["temp_file"] | None
    session_quota_bytes: Count | None
    quota_bytes: Count | None
    recycled_bytes: Count
    recycled_age_s: Duration


class Stopping(msgspec.Struct, frozen=True):
    """How a host ends kernels. `Settings` explains each of these."""

    interrupt_grace_s: Duration
    max_abandoned: Count


class Warm(msgspec.Struct, tag="warm", frozen=True):
    """Asks a host that has no app yet to import modules. The host answers with `Warmed`; `Setup`
    may come after that.

    Attributes:
        modules: what to import.
        at_low_priority: whether to import with a low priority, so that other processes go first.
    """

    modules: list[str]
    at_low_priority: bool


class Setup(msgspec.Struct, tag="setup", frozen=True):
    """Tells a host which app it is for, and how. Only `Warm` may be sent before it. The launch
    itself hands over nothing but descriptors.

    Attributes:
        app: absolute path of the app's file.
        argv: what `sys.argv` is to be.
        max_frame_bytes: the largest frame that either side may send.
        host_window_bytes: how many bytes of all sessions together may be sent up and not yet taken.
        files: how virtual files are kept.
        stopping: how kernels are ended that do not end by themselves.
        confinement: what the process may do. Default: all that its user may.
        files_folders: the only folders where virtual files may be kept, in this order. Default:
            they are kept where `files` says.
    """

    app: str
    argv: list[str]
    max_frame_bytes: FrameSize
    host_window_bytes: Room
    files: FileStorage
    stopping: Stopping
    confinement: Confinement | None = None
    files_folders: list[str] = []


class CreateKernel(msgspec.Struct, tag="create_kernel", frozen=True):
    """Start a kernel for the session whose number the frame carries.

    Attributes:
        session_id: the client's own name for the session.
        entry: the function that runs the kernel, as "package.module:function".
        args: opaque to all but that function.
        window_bytes: how many bytes of this session may be sent up and not yet taken.
    """

    session_id: str
    entry: str
    args: bytes
    window_bytes: Room


class StopKernel(msgspec.Struct, tag="stop_kernel", frozen=True):
    """End the session's kernel when its present command ends.

    Attributes:
        patience_s: how long that may take before the command is interrupted.
    """

    patience_s: Duration = 0.0


class Credit(msgspec.Struct, tag="credit", frozen=True):
    """The other side's consumer took `bytes` more of this session's payload bytes."""

    bytes: Count


class ConsoleText(msgspec.Struct, tag="console_text", frozen=True):
    """The host's process, or one that has its descriptors, wrote this to descriptor 1 or 2.

    Attributes:
        stream: "stdout" for 1, "stderr" for 2.
        text: whole characters, not necessarily whole lines.
        read_at_s: `time.monotonic()` when the server read it. All processes have the same clock.
    """

    stream: Literal["stdout", "stderr"]
    text: str
    read_at_s: float


class Ping(msgspec.Struct, tag="ping", frozen=True):
    """Answer with a `Pong` of the same number."""

    number: int


class Shutdown(msgspec.Struct, tag="shutdown", frozen=True):
    """Asks the process to end in order.

    Attributes:
        grace_s: how long the end may take before the process is killed.
    """

    grace_s: Duration = 0.0


class Warmed(msgspec.Struct, tag="warmed", frozen=True):
    """The host has imported what it could, and waits for its app.

    Attributes:
        names: the top-level modules that were imported, also by other modules.
        slowed: whether threads that the imports started could not be given the usual priority back.
        threaded: whether the imports started threads that still run.
    """

    names: list[str]
    slowed: bool
    threaded: bool = False


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """The host is ready for `CreateKernel`."""

    pid: int


class Pong(msgspec.Struct, tag="pong", frozen=True):
    """The answer to `Ping`: the host's dispatcher still runs."""

    number: int


class KernelCreated(msgspec.Struct, tag="created", frozen=True):
    """The kernel's thread runs. `thread` is its ident, by which a crash report names it."""

    thread: int


class Running(msgspec.Struct, tag="running", frozen=True):
    """How many commands the kernel has begun so far, and how many of these it has finished. While a
    command runs, `begun` is `done` + 1, or more where commands that waited were merged into it: see
    the server's `sessions.journal`. Which messages count as commands is agreed between the
    kernel and the journal of its client."""

    begun: Count
    done: Count


class KernelExited(ForPeople, tag="exited", frozen=True):
    """The kernel's thread ended. Nothing more of the session follows.

    Attributes:
        error: the traceback, when an exception ended it; else None.
        never_ran: whether the thread could not be started, or ended before the kernel ran.
    """

    error: str | None = None
    never_ran: bool = False


class FileStored(msgspec.Struct, tag="file_stored", frozen=True):
    """A virtual file of the session that the frame names (0: the host itself) can be read.

    Attributes:
        key: what a client asks for it by.
        kind: what holds its bytes.
        location: the name of a block, or the path of a temporary file.
        size: in bytes.
        media_type: its MIME type.
    """

    key: str
    kind: Literal["block", "temp_file"]
    location: str
    size: FileSize
    media_type: str


class FileRemoved(msgspec.Struct, tag="file_removed", frozen=True):
    """A virtual file has ended. The server always answers with `FilesFreed`."""

    key: Key


class ShortOfMemory(msgspec.Struct, tag="short_of_memory", frozen=True):
    """Shared memory is full: the server should ask the other hosts to give up (`GiveUpFree`) the
    blocks that they keep to be used again."""


class WantConsole(msgspec.Struct, tag="want_console", frozen=True):
    """Asks the server to send the host what its process writes to descriptors 1 and 2, as
    `ConsoleText`."""


class WantDrain(ForPeople, tag="want_drain", frozen=True):
    """Asks the server to open no more sessions here: something slows the process down or takes its
    memory, and only the end of the process will end that.

    Attributes:
        reason: what that is, for the log.
    """

    reason: str


class FilesFreed(msgspec.Struct, tag="files_freed", frozen=True):
    """Nobody reads these files' bytes any more: the blocks that hold them can be used again."""

    keys: list[str]


class GiveUpFree(msgspec.Struct, tag="give_up_free", frozen=True):
    """Asks a host to unlink the blocks that it keeps to be used again: another host is short of
    shared memory."""


DownMessage = (
    Warm
    | Setup
    | CreateKernel
    | StopKernel
    | Credit
    | FilesFreed
    | GiveUpFree
    | ConsoleText
    | Ping
    | Shutdown
)
UpMessage = (
    Warmed
    | NotPlaced
    | Preparing
    | Prepared
    | NotPrepared
    | UnfitForHost
    | NotConfined
    | Hello
    | Ready
    | Pong
    | KernelCreated
    | KernelExited
    | Running
    | Credit
    | FileStored
    | FileRemoved
    | ShortOfMemory
    | WantConsole
    | WantDrain
)

_encoder = msgspec.msgpack.Encoder()
_down_decoder: msgspec.msgpack.Decoder[DownMessage] = msgspec.msgpack.Decoder(DownMessage)
_up_decoder: msgspec.msgpack.Decoder[UpMessage] = msgspec.msgpack.Decoder(UpMessage)


def encode(message: DownMessage | UpMessage) -> bytes:
    """A message as the payload of a management frame."""
    return _encoder.encode(message)


def decode_down(payload: bytes) -> DownMessage:
    """Decode a message of the server to a host.

    Raises:
        ProtocolError: the payload is not one of these messages.
    """
    try:
        return _down_decoder.decode(payload)
    except UNDECODABLE as error:
        raise ProtocolError(
            f"a payload of {len(payload)} bytes is not a management message for a host"
            f" ({names_of(DownMessage)}): {error}"
        ) from error


def decode_up(payload: bytes) -> UpMessage:
    """Decode a message of a host to the server.

    Raises:
        ProtocolError: the payload is not one of these messages.
    """
    try:
        return _up_decoder.decode(payload)
    except UNDECODABLE as error:
        raise ProtocolError(
            f"a payload of {len(payload)} bytes is not a management message from a host"
            f" ({names_of(UpMessage)}): {error}"
        ) from error


def names_of(messages: UnionType) -> str:
    """The names of these classes of messages, for an error that says which are allowed."""
    return ", ".join(message.__name__ for message in get_args(messages))
