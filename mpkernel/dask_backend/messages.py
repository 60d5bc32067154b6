"""The messages between a server and an outpost, in msgpack."""

from __future__ import annotations

import enum
from typing import Annotated, Literal, Self, TypeAlias, TypeVar

import msgspec

from mpkernel.dask_backend.parts import MAX_PART_BYTES
from mpkernel.errors import ProtocolError
from mpkernel.server.launching.wanted_python import WantedPython
from mpkernel.server.launching.wrapping import Wrapper
from mpkernel.settings import Settings
from mpkernel.wire.before_host import Hello
from mpkernel.wire.for_people import ForPeople

__all__ = [
    "Alive",
    "Confined",
    "DownNews",
    "Ended",
    "EndHost",
    "FileRead",
    "Folder",
    "Found",
    "Launch",
    "Launched",
    "NotLaunched",
    "ReadFile",
    "SendFolder",
    "Unfit",
    "UpNews",
    "Used",
    "decode_down_news",
    "decode_up_news",
    "encode_news",
    "fault_of",
]


_T = TypeVar("_T")

FileName: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^(?!\.\.?$)[^/\0]+$")]


class Alive(msgspec.Struct, tag="alive", frozen=True):
    """A heartbeat: it is sent when nothing else was sent for a while."""


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """The folder of an app, from a copy of which it is to run.

    Attributes:
        digest: the hash of its archive.
        size: of the archive, in bytes.
        name: the folder's own name.
        app: the name of the app's file in it.
    """

    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    size: int
    name: FileName
    app: FileName


class Confined(msgspec.Struct, frozen=True, kw_only=True):
    """Which folders a confined host gets.

    Attributes:
        storage, fallback: see the settings `file_storage` and `file_fallback`.
    """

    storage: Literal["shared_memory", "temp_file"] | None
    fallback: Literal["temp_file"] | None

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Those of an app with these settings; None if it is not confined."""
        if settings.confine == "off":
            return None
        return cls(storage=settings.file_storage, fallback=settings.file_fallback)


class Launch(msgspec.Struct, tag="launch", frozen=True, kw_only=True):
    """Down, once, before all else: start a host.

    Attributes:
        name: the process's name, for logs and messages.
        app: absolute path of the app's file; None if it is not known yet.
        env: the variables of the host. None: those of the worker.
        silence_s: after so many seconds without a word of the server, the outpost ends.
        sample_s: how often the host is measured; None: never.
        folder: what is copied there first. None: `app` is on that machine, too.
        python: the Python that the app asks for; None: the worker's.
        wrapper: the command that starts it, if there is one.
        confined: what folders of its own the host gets, if it is to be confined.
        current_folder: the server's; None: it has none any more.
    """

    name: str
    app: str | None
    env: dict[str, str] | None
    silence_s: float
    sample_s: float | None
    folder: Folder | None = None
    python: WantedPython | None = None
    wrapper: Wrapper | None = None
    confined: Confined | None = None
    current_folder: str | None = None


class EndHost(msgspec.Struct, tag="end_host", frozen=True):
    """Down: kill the host, and all that it started."""


class ReadFile(msgspec.Struct, tag="read_file", frozen=True, kw_only=True):
    """Down: send these bytes of a virtual file on the lane of files, and then `FileRead`. Requests
    are answered in their order.

    Attributes:
        number: of the request.
        kind, location: see `Source`.
        size: of the whole file.
        start, end: which bytes.
    """

    number: int
    kind: Literal["block", "temp_file", "memory"]
    location: str
    size: int
    start: int
    end: int


class SendFolder(msgspec.Struct, tag="send_folder", frozen=True):
    """Up: the archive of the folder is not there. It is sent on the lane of folders."""


class Launched(msgspec.Struct, tag="launched", frozen=True, kw_only=True):
    """Up: the host was started.

    Attributes:
        pid: its process id there.
        python: what was launched: another Python, or a wrapper; None: the worker's Python.
        environment: the folder of the environment that is the app's own; None if it has none.
        is_other: whether it runs another Python than the worker's.
    """

    pid: int
    python: str | None = None
    environment: str | None = None
    is_other: bool = False


class Found(msgspec.Struct, tag="found", frozen=True):
    """Up: the host is this process, which its wrapper has become or started.

    Attributes:
        pid: its process id there.
    """

    pid: int


class Unfit(enum.Enum):
    """The part of an order because of which no host was started. Another worker could not start it
    either."""

    PYTHON = "python"
    """The Python that is named is none that could run it."""
    ENVIRONMENT = "environment"
    """The app's own environment cannot be made, or its header is wrong."""


class NotLaunched(ForPeople, tag="not_launched", frozen=True):
    """Up: no host was started, and the outpost ends; or what a wrapper has started cannot be a
    host.

    Attributes:
        what: why.
        remedy: what the reader can do about it.
        unfit: what is to blame. None: the machine, and another worker may do.
    """

    what: str
    remedy: str
    unfit: Unfit | None = None


class Used(msgspec.Struct, tag="used", frozen=True, kw_only=True):
    """Up: what the host uses now; see `Usage`."""

    rss_bytes: int
    cpu_s: float
    host_cpu_s: float
    threads: int
    descriptors: int | None
    processes: int


class FileRead(ForPeople, tag="file_read", frozen=True):
    """Up: the bytes of a request were sent.

    Attributes:
        number: of the request.
        error: why there are none; None if they are all there.
    """

    number: int
    error: str | None


class Ended(msgspec.Struct, tag="ended", frozen=True):
    """Up: the host has ended, and what it sent last was sent.

    Attributes:
        code: see `ExitStatus`.
        out_of_memory: whether the system has killed processes there for lack of memory.
        with_worker: whether it was ended because the worker of its outpost has ended.
    """

    code: int | None
    out_of_memory: bool
    with_worker: bool = False


DownNews: TypeAlias = Alive | Launch | EndHost | Hello | ReadFile
UpNews: TypeAlias = Alive | SendFolder | Launched | Found | NotLaunched | Used | FileRead | Ended

_down: msgspec.msgpack.Decoder[DownNews] = msgspec.msgpack.Decoder(DownNews)
_up: msgspec.msgpack.Decoder[UpNews] = msgspec.msgpack.Decoder(UpNews)
_encoder = msgspec.msgpack.Encoder()

_MOST_OF_A_FOLDER = 1024
"""A `Folder` has no more bytes: two names of 255, a hash and a number."""

_NOT_UNDERSTOOD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises: the second where a text is no UTF-8, the third where lists lie in lists
too deep."""


def encode_news(news: DownNews | UpNews) -> bytes:
    """A message as bytes."""
    return _encoder.encode(news)


def fault_of(order: Launch) -> str | None:
    """Why an order cannot be sent, with whatever folder; None if it can."""
    try:
        size = len(encode_news(order))
        of_variables = len(_encoder.encode(order.env))
    except UnicodeEncodeError as error:
        return f"{error.object!r} is not UTF-8"
    if size <= MAX_PART_BYTES - _MOST_OF_A_FOLDER:
        return None
    if of_variables > size // 2:
        return "it has too many environment variables"
    return f"its requirements and paths take {size:,} bytes, at most {MAX_PART_BYTES:,} can be sent"


def decode_down_news(data: memoryview) -> DownNews:
    """Decode a message of the server.

    Raises:
        ProtocolError: this is not such a message.
    """
    return _decoded(_down, data)


def decode_up_news(data: memoryview) -> UpNews:
    """Decode a message of an outpost.

    Raises:
        ProtocolError: this is not such a message.
    """
    return _decoded(_up, data)


def _decoded(decoder: msgspec.msgpack.Decoder[_T], data: memoryview) -> _T:
    try:
        return decoder.decode(data)
    except _NOT_UNDERSTOOD as error:
        raise ProtocolError(f"a message cannot be understood: {error}") from error
