"""`JsonFormatter`: formats a log as lines of JSON. `printed_lines` does the same with text that
processes print.

    {"time":"2026-01-31T12:00:00.123Z","level":"WARNING","logger":"mpkernel.server.apps.app",
     "message":"…","pid":123,"app":"/srv/sales.py","session":"s_1","exception":"Traceback …"}
    {"time":"2026-01-31T12:00:00.123Z","stream":"stdout","text":"…","pid":123,"app":"/srv/sales.py"}

The `pid` is that of the app's process that the line is about; if it is about none, that of the
process that logs. What is not known is left out. Each record is one line of UTF-8, whatever its
text holds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import msgspec

from mpkernel.logs import ABOUT, tail_of
from mpkernel.plain_text import encodable

__all__ = ["JsonFormatter", "printed_lines"]


class _Logged(msgspec.Struct, frozen=True, omit_defaults=True):
    time: str
    level: str
    logger: str
    message: str
    pid: int | None
    app: str | None = None
    session: str | None = None
    worker: str | None = None
    exception: str | None = None


class _Printed(msgspec.Struct, frozen=True, omit_defaults=True):
    time: str
    stream: str
    text: str
    pid: int
    app: str | None = None


class JsonFormatter(logging.Formatter):
    """Formats any logger's records; those of mpkernel say which app and session they are about.

    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    """

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object, without a line end. `time` is UTC, with milliseconds. `exception` holds
        the record's traceback and its stack, as far as it has them. A record whose arguments do not
        fit its message is shown with both; it raises no error."""
        app, session, pid, worker = (getattr(record, name, None) for name in ABOUT)
        line = _Logged(
            time=_rfc3339(record.created),
            level=record.levelname,
            logger=record.name,
            message=_message(record),
            pid=pid if isinstance(pid, int) else record.process,
            app=app if isinstance(app, str) else None,
            session=session if isinstance(session, str) else None,
            worker=worker if isinstance(worker, str) else None,
            exception=self._exception(record),
        )
        return _encoded(line)

    def _exception(self, record: logging.LogRecord) -> str | None:
        parts = []
        if record.exc_info:
            parts.append(self.formatException(record.exc_info))
        elif record.exc_text:
            parts.append(record.exc_text)
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return "\n".join(parts) or None


def printed_lines(stream: str, lines: Iterable[str], *, pid: int, app: str | None = None) -> str:
    """Lines that a process has just printed, each as one line of JSON.

    Args:
        stream: "stdout" or "stderr".
        lines: without their line ends.
        pid: the process that printed them.
        app: the app of the process.
    """
    now = _rfc3339(time.time())
    return "".join(f"{_encoded(_Printed(now, stream, line, pid, app))}\n" for line in lines)


def _message(record: logging.LogRecord) -> str:
    """The message without its tail: app, session and pid have fields of their own."""
    try:
        return record.getMessage().removesuffix(tail_of(record.__dict__))
    except (TypeError, ValueError, KeyError) as error:  # a wrong line is better than a traceback
        return f"{record.msg} {record.args!r} (which do not fit: {error})"


def _rfc3339(at: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    return f"{whole}.{int(at % 1 * 1000):03d}Z"


def _encoded(line: msgspec.Struct) -> str:
    try:
        return msgspec.json.encode(line).decode()
    except UnicodeEncodeError:  # a path may hold bytes that are not text
        fields = msgspec.structs.asdict(line)
        texts = {name: encodable(text) for name, text in fields.items() if isinstance(text, str)}
        return msgspec.json.encode(msgspec.structs.replace(line, **texts)).decode()
