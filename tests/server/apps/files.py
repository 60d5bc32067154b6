"""A kernel that does what it is told, for tests of virtual files."""

from __future__ import annotations

import traceback


def obey(kernel):
    """Execute each message; answer with the repr of what it left in `result`."""
    names = {"kernel": kernel}
    for message in kernel:
        try:
            exec(message.payload.decode(), names)
            answer = repr(names.pop("result", None))
        except Exception:  # noqa: BLE001 (it is the answer)
            answer = traceback.format_exc()
        kernel.send(answer.encode())
