"""The process's console: one `sys.stdout` and `sys.stderr` for all sessions, separated by thread.

    print() ─▶ sys.stdout ─▶ ConsoleProxy ─┬▶ the stream that this thread set or inherited
                                           └▶ the process's own stdout (no stream, or a closed one)

Threads inherit the streams of the thread that starts them. What C code and `os.write` write to
descriptors 1 and 2 does not pass through here; see `descriptors`.

No write takes a lock: the garbage collector may run a `__del__` that prints in the middle of any of
these methods.
"""

from __future__ import annotations

__all__ = ["ConsoleProxy", "TextStream", "install", "installed", "plain_streams", "uninstall"]

import codecs
import functools
import io
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, SupportsIndex, TextIO, TypeAlias, cast

TextStream: TypeAlias = TextIO | io.TextIOBase
_ThreadStart: TypeAlias = Callable[..., object]

_STARTS = tuple(
    name for name in ("_start_new_thread", "_start_joinable_thread") if hasattr(threading, name)
)
"""The functions by which the module `threading` starts a thread: the first up to Python 3.12, the
second since. They are private to it: `Thread.start`, which others wrap and inspect, is not
replaced."""


class ConsoleProxy(io.TextIOBase):
    """A text file that writes to the calling thread's stream, or to `original` without one.

    A stream may offer `for_thread()`: it is called when its thread starts another, in the parent,
    and what it returns becomes the child's stream; without it both share one object. A stream
    whose `closed` is true is passed over, and late output goes to `original`.
    """

    def __init__(self, original: TextIO, name: str) -> None:
        # No super().__init__(): in a subclass the next class may be a notebook server's own proxy.
        self._original: TextStream = original
        self._name = name
        self._local = threading.local()
        self._binary = _ConsoleBuffer(self)

    def set_stream(self, stream: TextStream) -> None:
        """Send what the calling thread writes to `stream`. If `stream` is the proxy itself or the
        original, the thread has no stream: what it writes goes to the original."""
        self._switch(None if stream is self else stream)

    def clear_stream(self) -> None:
        """Send what the calling thread writes to the original again."""
        self._switch(None)

    def current(self) -> TextStream:
        """The calling thread's stream while it is open, else the original."""
        stream: TextStream | None = getattr(self._local, "stream", None)
        if stream is None or getattr(stream, "closed", False):
            return self._original
        return stream

    def write(self, text: str) -> int:
        """Write to `current()`; returns the number of characters. `TypeError` unless a `str`."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        stream = self.current()
        try:
            stream.write(text)
        except ValueError:
            if self.current() is stream:
                raise
            self._original.write(text)  # after `current()`, the session has closed its stream
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        stream = self.current()
        try:
            stream.flush()
        except ValueError:
            if self.current() is stream:
                raise

    def close(self) -> None:
        """Flush only: one session must not close the console of all others."""
        if not self.closed:
            self.flush()

    @property
    def closed(self) -> bool:
        return bool(getattr(self.current(), "closed", False))

    @property
    def buffer(self) -> BinaryIO:
        """A binary file onto this thread's stream (UTF-8), or the original's own without one.

        The file looks for the calling thread's stream at each write, so threads may keep and share
        the file. Raises `AttributeError` where the original has no binary file.
        """
        if self.current() is self._original:
            return cast(BinaryIO, self._original.buffer)  # type: ignore[union-attr]
        return cast(BinaryIO, self._binary)

    @property
    def name(self) -> str:
        return self._name

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.current(), "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return getattr(self.current(), "errors", None) or "strict"

    def fileno(self) -> int:
        """The original's: where subprocesses and C code write."""
        return self._original.fileno()

    def isatty(self) -> bool:
        return self.current().isatty()

    def writable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> str:
        raise io.UnsupportedOperation("not readable")

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        raise io.UnsupportedOperation("not readable")

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return io.TextIOWrapper(io.BytesIO()).__reduce_ex__(protocol)  # which raises its error

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._original, name)

    def _write_bytes(self, data: bytes) -> None:
        local = vars(self._local)
        if "decoder" not in local:
            local["decoder"] = codecs.getincrementaldecoder("utf-8")("replace")
        if text := local["decoder"].decode(data):
            self.write(text)

    def _switch(self, stream: TextStream | None) -> None:
        decoder = vars(self._local).pop("decoder", None)
        try:
            if decoder and (unfinished := decoder.decode(b"", True)):
                self.write(unfinished)
        finally:
            self._local.stream = stream

    def _inherited_stream(self) -> TextStream | None:
        """The stream that a thread inherits when the calling thread starts it, if any."""
        stream = self.current()
        for_thread: Callable[[], TextStream] = getattr(stream, "for_thread", lambda: stream)
        return None if stream is self._original else for_thread()


class _ConsoleBuffer(io.BufferedIOBase):
    """The binary file of a proxy: takes bytes in any pieces, and writes whole characters."""

    def __init__(self, proxy: ConsoleProxy) -> None:
        self._proxy = proxy

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        given: object = data
        if isinstance(given, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        self._proxy._write_bytes(payload := memoryview(data).tobytes())
        return len(payload)

    def flush(self) -> None:
        self._proxy.flush()

    def close(self) -> None:
        self._proxy.close()

    def fileno(self) -> int:
        return self._proxy.fileno()

    def writable(self) -> bool:
        return True


class _Nowhere(io.TextIOBase):
    """Drops the text that is written to it."""

    def write(self, text: str) -> int:
        return len(text)


class _Installation:
    """What `install()` put in place, and what was there before."""

    def __init__(self, make_proxy: Callable[[TextIO, str], ConsoleProxy]) -> None:
        self.originals = (sys.stdout, sys.stderr)
        out, err = (cast(TextIO, _Nowhere()) if s is None else s for s in self.originals)
        self.proxies = (make_proxy(out, "<stdout>"), make_proxy(err, "<stderr>"))
        self.starts_before = {name: getattr(threading, name) for name in _STARTS}
        self.starts = {
            name: _inheriting(start, self.proxies) for name, start in self.starts_before.items()
        }

    def take_threads(self) -> None:
        for name, start in self.starts.items():
            setattr(threading, name, start)

    def give_back_threads(self) -> None:
        # If somebody has wrapped our function since, the wrapper stays in place, and with it our
        # function, which does no harm.
        for name, start in self.starts.items():
            if getattr(threading, name) is start:
                setattr(threading, name, self.starts_before[name])


_lock = threading.Lock()
_installation: _Installation | None = None  # guarded by _lock
_kept_after_fork: list[object] = []


def install(make_proxy: Callable[[TextIO, str], ConsoleProxy] = ConsoleProxy) -> None:
    """Make `sys.stdout` and `sys.stderr` proxies, and let threads inherit streams. Idempotent.

    `make_proxy` is given the file that was there and its name (`<stdout>`, `<stderr>`).
    """
    global _installation
    with _lock:
        if _installation is None:
            _installation = _Installation(make_proxy)
            sys.stdout, sys.stderr = (cast(TextIO, proxy) for proxy in _installation.proxies)
            _installation.take_threads()


def uninstall() -> None:
    """Put back what was there at `install()`, whoever replaced `sys.stdout` since. Idempotent."""
    global _installation
    with _lock:
        if _installation is not None:
            sys.stdout, sys.stderr = _installation.originals
            _installation.give_back_threads()
            _installation = None


def installed() -> bool:
    """Whether the proxies are in place."""
    return _installation is not None


def plain_streams() -> None:
    """Give a forked child plain files on descriptors 1 and 2 for all four of `sys`'s streams.

    For `os.register_at_fork(after_in_child=...)`. The proxies are uninstalled; an object that still
    holds one (a logging handler) writes to the plain file, too. Never raises, and waits for no
    lock. For a closed descriptor there is a stream that drops text, where Python itself would have
    None.
    """
    global _installation, _lock
    _lock = threading.Lock()
    left, _installation = _installation, None
    # A file is flushed when it is collected: it would write the parent's text, and wait for a lock
    # that may be held for ever. So none of them is collected.
    _kept_after_fork.extend((left, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__))
    plain = (_plain(1, sys.__stdout__), _plain(2, sys.__stderr__))
    for name, stream in zip(("stdout", "stderr"), plain, strict=True):
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if left is not None:
        left.give_back_threads()
        for proxy, stream in zip(left.proxies, plain, strict=True):
            _kept_after_fork.append(proxy._local)
            proxy._original, proxy._local = stream, threading.local()


def _plain(fd: int, like: TextStream | None) -> TextStream:
    encoding = getattr(like, "encoding", None) or "utf-8"
    errors, buffering = ("surrogateescape", -1) if fd == 1 else ("backslashreplace", 1)
    try:
        return open(fd, "w", buffering, encoding=encoding, errors=errors, closefd=False)
    except (OSError, LookupError, TypeError, ValueError):
        return _Nowhere()


def _inheriting(start: _ThreadStart, proxies: Iterable[ConsoleProxy]) -> _ThreadStart:
    """A replacement for `start`, with which threads inherit the streams of their starter."""

    @functools.wraps(start)
    def start_with_streams(
        function: Callable[..., object], *args: object, **options: object
    ) -> object:
        inherited = [
            (proxy, stream)
            for proxy in proxies
            if (stream := proxy._inherited_stream()) is not None
        ]
        if not inherited:
            return start(function, *args, **options)

        def run_with_streams(*run_args: object) -> None:
            # Not cleared at the end: threading.excepthook still prints, and a thread-local value
            # ends with its thread.
            for proxy, stream in inherited:
                proxy.set_stream(stream)
            function(*run_args)

        return start(run_with_streams, *args, **options)

    return start_with_streams
