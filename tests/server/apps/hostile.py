"""An app whose code has got hold of its process's Pipes, and means no good.

`attack` is the entry of a session; `kernel.args` says which attack, a function of `forgeries` or of
`floods`. Each gets the descriptors of both Pipes and the session's number.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading

import floods
import forgeries
from taken_host import TakenHost

from mpkernel.host.main import Dispatcher


def echo(kernel):
    kernel.send(str(os.getpid()).encode())
    for message in kernel:
        kernel.send(message.payload)


def attack(kernel):
    """Say that it is there, wait for a word, attack, stay."""
    [dispatcher] = [one for one in gc.get_objects() if type(one) is Dispatcher]
    name = kernel.args.decode()
    kernel.send(b"here")
    kernel.receive()
    attack = getattr(forgeries, name, None) or getattr(floods, name)
    attack(TakenHost(kernel, dispatcher))
    with contextlib.suppress(OSError):
        kernel.send(b"attacked")
    threading.Event().wait()


def idle(kernel):
    kernel.send(b"here")
    threading.Event().wait()
