"""A kernel that carries out instructions, for tests of virtual files."""

from __future__ import annotations

import random
import traceback

from mpkernel.host.kernel import hosted_half


def obey(kernel):
    """Execute each message; answer with the repr of what it left in `result`."""
    names = {"kernel": kernel, "hosted": hosted_half(kernel)}
    for message in kernel:
        try:
            exec(message.payload.decode(), names)
            answer = repr(names.pop("result", None))
        except Exception:  # noqa: BLE001 (it is the answer)
            answer = traceback.format_exc()
        kernel.send(answer.encode())


def churn(kernel):
    """Store and remove files of many sizes, some of them over and over, until closed."""
    choose = random.Random(kernel.session_id)
    keys = []
    while not kernel.stopped:
        keys.append(f"{kernel.session_id}-{len(keys)}-{choose.random()}")
        kernel.files.store(keys[-1], bytes(choose.choice((1, 5000, 70_000, 300_000))))
        if len(keys) > 5:
            kernel.files.remove(keys.pop(choose.randrange(5)))
        kernel.send(b"stored")
