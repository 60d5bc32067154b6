"""The messages of the management channel: tagged msgspec Structs, in msgpack.

Down (server to host) go `Warm`, `Setup`, `CreateKernel`, `StopKernel`, `Credit`, `FilesFreed`,
`ConsoleText`, `Ping` and `Shutdown`; up come `Warmed`, `Ready`, `Pong` (control Pipe),
`KernelCreated`, `KernelExited`, `Running`, `FileStored`, `FileRemoved`, `WantConsole`, `WantDrain`
and `Credit` (stream Pipe, in order with the session's output). Which session a message speaks of
stands in the frame that carries it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from mpkernel.errors import ProtocolError
from mpkernel.wire.bounds import Count, Duration, FileSize, FrameSize, Key, Room

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
]

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be: the last for deep nesting."""


class FileStorage(msgspec.Struct, frozen=True):
    """How a host keeps virtual files; see `Settings`, where each of these stands."""

    kind: Literal["shared_memory", "temp_file"] | None
    fallback: Literal["temp_file"] | None
    session_quota_bytes: Count | None
    quota_bytes: Count | None
    recycled_bytes: Count
    recycled_age_s: Duration


class Stopping(msgspec.Struct, frozen=True):
    """How a host ends kernels; see `Settings`, where each of these stands."""

    interrupt_grace_s: Duration
    max_abandoned: Count


class Warm(msgspec.Struct, tag="warm", frozen=True):
    """To a host that has no app yet: import these. `Warmed` answers it, `Setup` may come after.

    Attributes:
        modules: what to import.
        at_low_priority: whether that shall give way to what else runs.
    """

    modules: list[str]
    at_low_priority: bool


class Setup(msgspec.Struct, tag="setup", frozen=True):
    """What the host is for; nothing but `Warm` goes before it. The launch itself carries only
    descriptors.

    Attributes:
        app: absolute path of the app's file.
        argv: what `sys.argv` shall be.
        max_frame_bytes: the largest frame either side may send.
        host_window_bytes: how much of all sessions together may be on its way up.
        files: how virtual files are kept.
        stopping: how kernels are ended that do not end.
    """

    app: str
    argv: list[str]
    max_frame_bytes: FrameSize
    host_window_bytes: Room
    files: FileStorage
    stopping: Stopping


class CreateKernel(msgspec.Struct, tag="create_kernel", frozen=True):
    """Start a kernel for the session whose number the frame carries.

    Attributes:
        session_id: the client's own name for the session.
        entry: the function that runs the kernel, as "package.module:function".
        args: opaque to all but that function.
        window_bytes: how much of this session may be on its way up.
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
        read_at_s: `time.monotonic()` when the server read it: the same clock for all processes.
    """

    stream: Literal["stdout", "stderr"]
    text: str
    read_at_s: float


class Ping(msgspec.Struct, tag="ping", frozen=True):
    """Answer with a `Pong` of the same number."""

    number: int


class Shutdown(msgspec.Struct, tag="shutdown", frozen=True):
    """Leave in order.

    Attributes:
        grace_s: how long that may take before the process is killed.
    """

    grace_s: Duration = 0.0


class Warmed(msgspec.Struct, tag="warmed", frozen=True):
    """The host has imported what it could, and waits for its app.

    Attributes:
        names: the top-level modules that came with it.
        slowed: whether threads that the imports started are left with a low priority.
    """

    names: list[str]
    slowed: bool


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """The host takes kernels."""

    pid: int


class Pong(msgspec.Struct, tag="pong", frozen=True):
    """The dispatcher runs."""

    number: int


class KernelCreated(msgspec.Struct, tag="created", frozen=True):
    """The kernel's thread runs. `thread` is its ident, by which a crash report names it."""

    thread: int


class Running(msgspec.Struct, tag="running", frozen=True):
    """How many commands the kernel has begun, and how many of these it has done: one more is begun
    while one runs. Which messages are commands, the kernel and its client's journal agree on."""

    begun: Count
    done: Count


class KernelExited(msgspec.Struct, tag="exited", frozen=True):
    """The kernel's thread ended: nothing of the session follows.

    Attributes:
        error: the traceback, when an exception ended it; else None.
    """

    error: str | None = None


class FileStored(msgspec.Struct, tag="file_stored", frozen=True):
    """A virtual file of the session that the frame names (0: the host itself) can be read.

    Attributes:
        key: what it is asked for by.
        kind: what holds its bytes.
        location: the name of a block, or the path of a temporary file.
        size: bytes.
        media_type: what it is.
    """

    key: str
    kind: Literal["block", "temp_file"]
    location: str
    size: FileSize
    media_type: str


class FileRemoved(msgspec.Struct, tag="file_removed", frozen=True):
    """A virtual file has ended. `FilesFreed` answers it, always."""

    key: Key


class ShortOfMemory(msgspec.Struct, tag="short_of_memory", frozen=True):
    """Shared memory is full: what others keep of it to be used again is wanted."""


class WantConsole(msgspec.Struct, tag="want_console", frozen=True):
    """Send the host what its process writes to descriptors 1 and 2, as `ConsoleText`."""


class WantDrain(msgspec.Struct, tag="want_drain", frozen=True):
    """Open no more sessions here: something holds the process back that only its end will end.

    Attributes:
        reason: what, for the log.
    """

    reason: str


class FilesFreed(msgspec.Struct, tag="files_freed", frozen=True):
    """Nobody reads these files' bytes any more: what holds them can be used again."""

    keys: list[str]


class GiveUpFree(msgspec.Struct, tag="give_up_free", frozen=True):
    """Unlink the blocks that are kept to be used again: somebody is short of shared memory."""


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
    """What the server says to a host.

    Raises:
        ProtocolError: the payload is no such message.
    """
    try:
        return _down_decoder.decode(payload)
    except UNDECODABLE as error:
        raise ProtocolError(f"no management message for a host: {error}") from error


def decode_up(payload: bytes) -> UpMessage:
    """What a host says to the server.

    Raises:
        ProtocolError: the payload is no such message.
    """
    try:
        return _up_decoder.decode(payload)
    except UNDECODABLE as error:
        raise ProtocolError(f"no management message from a host: {error}") from error
