"""`ConsoleSource`: reads one console pipe of a host, and hands the text on.

    the pipe ─▶ text, as it is read ─▶ `on_text`
                   └─▶ whole lines ──▶ ConsoleTail: the last of them, or faulthandler's
                             └───────▶ the server's own descriptor, with the app's name or as JSON

All lines that one read returned are handled together, not line by line, unless they become JSON.
"""

from __future__ import annotations

import codecs
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Literal, TextIO, TypeAlias

from mpkernel.json_lines import printed_lines
from mpkernel.server.links.console_tail import ConsoleTail
from mpkernel.server.links.server_output import output_of

__all__ = ["ConsoleSource", "StreamName"]

logger = logging.getLogger(__name__)

StreamName: TypeAlias = Literal["stdout", "stderr"]

_READ_BYTES = 64 * 1024
_LINE_CHARS = 16 * 1024


class ConsoleSource:
    """One console pipe. Only the relay's thread uses it.

    Args:
        fd: the pipe. Reading it never waits.
        tail: where its last lines are kept.
        stream: which of the host's streams it is. None: faulthandler's.
        on_text: called with each piece of text as it is read, in whole characters, before anything
            else is done with it, and with the `time.monotonic()` of the reading. Default: nothing.
        forward: whether its lines go to the server's own descriptor of the same name.
        as_json: whether they go there as JSON.
    """

    def __init__(
        self,
        fd: int,
        tail: ConsoleTail,
        stream: StreamName | None,
        on_text: Callable[[str, float], None] | None = None,
        *,
        forward: bool = False,
        as_json: bool = False,
    ) -> None:
        self.fd = fd
        self.name = tail.name
        self._tail = tail
        self._stream = stream
        self._on_text = on_text
        self._forward = forward
        self._as_json = as_json
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._partial = ""  # a line that has not ended
        self._is_failing = False

    def read(self, *, wait: bool = True) -> bool:
        """Relay what can be read now. Returns False when nothing more will come, or, without
        `wait`, when nothing is there now.

        This never raises, since the thread must go on for all other apps. If something fails, the
        text that was just read is lost.
        """
        try:
            goes_on = self._read(wait=wait)
        except Exception:
            if not self._is_failing:
                logger.exception("console output of %s is lost for now", self.name)
            self._is_failing = True
            self._partial = ""
            return True
        if self._is_failing and goes_on:
            logger.warning("console output of %s is relayed again", self.name)
            self._is_failing = False
        return goes_on

    def end(self) -> None:
        """Tell the tail that this pipe is at its end."""
        try:
            self._tail.source_ended()
        except Exception:
            logger.exception("the end of the console of %s was not handled", self.name)

    def _read(self, *, wait: bool) -> bool:
        read_at_s = time.monotonic()  # before the read, which may wait long for the GIL
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return wait
        except OSError as error:
            logger.debug("console of %s: %s", self.name, error)
            data = b""
        at_end = not data
        text = self._decoder.decode(data, at_end)
        if text and self._on_text is not None:
            self._on_text(text, read_at_s)
        text = self._partial + text
        lines_end = text.rfind("\n") + 1
        if at_end or len(text) - lines_end > _LINE_CHARS:
            lines_end = len(text)
        lines, self._partial = text[:lines_end], text[lines_end:]
        if lines:
            self._relay(lines.removesuffix("\n"))
        return not at_end

    def _relay(self, lines: str) -> None:
        if self._stream is None:
            self._tail.add_faults(lines)
            return
        self._tail.add(lines)
        if not self._forward:
            return
        target = sys.__stdout__ if self._stream == "stdout" else sys.__stderr__
        if target is None:
            return
        if (output := output_of(target)) is not None:
            output.wait_until_taken()
        try:
            if self._as_json:
                _write_json(target, self._stream, self._tail, lines)
            else:
                name = f"[{self.name}] "
                _write(target, name + lines.replace("\n", "\n" + name) + "\n")
        except (OSError, ValueError) as error:  # the server's own console is gone
            logger.debug("console of %s not relayed: %s", self.name, error)


def _write_json(target: TextIO, stream: StreamName, tail: ConsoleTail, lines: str) -> None:
    text = printed_lines(stream, lines.split("\n"), pid=tail.pid, app=tail.app)
    target.buffer.write(text.encode())  # JSON is UTF-8, whatever a console's encoding is
    target.flush()


def _write(target: TextIO, text: str) -> None:
    try:
        target.write(text)
    except UnicodeEncodeError:  # all other characters must be written nevertheless
        encoding = target.encoding
        target.write(text.encode(encoding, "backslashreplace").decode(encoding))
    target.flush()
