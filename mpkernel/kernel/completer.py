"""`Completer`: answers a session's `Complete` on a thread of its own, while its cells run.

dispatcher ─ put ─▶ queue ─▶ the completer's thread ─ Completions ─▶ the client
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping

from mpkernel.errors import ProtocolError
from mpkernel.kernel.code.completion import complete
from mpkernel.kernel.messages import Complete, Completions
from mpkernel.late_logger import late_logger
from mpkernel.plain_text import encodable

__all__ = ["Completer"]

logger = late_logger(__name__)


class Completer:
    """The completer of one session. Its thread starts with the first question: most sessions ask
    none.

    Args:
        namespace: the global names that the session's code sees.
        send: called on the completer's thread with each answer; may wait for the client.
    """

    def __init__(
        self, namespace: Mapping[str, object], send: Callable[[Completions], None]
    ) -> None:
        self._namespace = namespace
        self._send = send
        self._questions: queue.SimpleQueue[Complete | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, question: Complete) -> None:
        """Have a question answered. Returns at once; on the dispatcher's thread only.

        Raises:
            RuntimeError: the process can have no more threads. The next question tries again.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="mpkernel-completer", daemon=True)
            thread.start()
            self._thread = thread
        self._questions.put(question)

    def close(self) -> None:
        """Let the thread end when it has answered the questions that wait. From any thread."""
        self._questions.put(None)

    def _run(self) -> None:
        while (question := self._questions.get()) is not None:
            start, matches = self._found(question)
            try:
                self._send(Completions(question.request, start, [encodable(m) for m in matches]))
            except ProtocolError as error:  # the names are too many for a message
                logger.warning("no completions: %s", error)
                self._send(Completions(question.request, start, []))

    def _found(self, question: Complete) -> tuple[int, list[str]]:
        try:
            return complete(question.code, question.cursor, self._namespace)
        except Exception as error:  # noqa: BLE001 (of what the app has put into `sys` or a class)
            logger.warning("no completions: %r", error)
            return question.cursor, []
