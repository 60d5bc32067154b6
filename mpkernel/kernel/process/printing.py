"""`print`, which writes each line in one piece.

Python's own `print` writes each value and the line's end separately. Text of another thread, or of
a `__del__` that prints, could come between two of these writes and split the line.
"""

from __future__ import annotations

import builtins
import io
import sys
from typing import Any, Protocol

from mpkernel.builtins_like import builtin_like
from mpkernel.kernel.shown.console_files import SessionStream

__all__ = ["SessionsProxy", "install_print"]


class SessionsProxy(Protocol):
    """`sys.stdout` or `sys.stderr` of all sessions."""

    def write_for(self, names: dict[str, Any], text: str) -> int:
        """Write text that was printed by code with the global names `names`."""
        ...

    def flush(self) -> None: ...


def install_print(proxies: tuple[SessionsProxy, SessionsProxy]) -> None:
    """Have `print` write each line at once to `proxies` and to the streams that sessions find in
    `sys`, and to every other file as before. To be called once."""
    plain_print = builtins.print
    stdout, stderr = proxies

    def print_at_once(*values: object, **options: Any) -> None:
        file = options.get("file")
        stream: Any = vars(sys)["stdout"] if file is None else file
        is_shared = stream is stdout or stream is stderr
        if not is_shared and not isinstance(stream, SessionStream):
            plain_print(*values, **options)
            return
        line = io.StringIO()
        try:
            plain_print(*values, **{**options, "file": line})
        finally:
            if text := line.getvalue():  # also when a later value could not be printed
                if is_shared:
                    stream.write_for(sys._getframe(1).f_globals, text)
                else:
                    stream.write(text)
        if options.get("flush"):
            stream.flush()

    builtins.print = builtin_like(plain_print, print_at_once)
