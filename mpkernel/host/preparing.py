"""Before a host: the process makes the environment of its app, and then becomes the host in it.

    server ── launches ──▶ this, with the server's Python
                             │ Preparing, again and again ──▶ server ──▶ pages
                             │ Prepared
                             └─ exec: the environment's Python, with the same Pipes, the same pid

So what makes an environment is supervised, stopped and killed as any process of an app, with uv and
all that uv has started; and the server goes on meanwhile.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from mpkernel.errors import SandboxError
from mpkernel.sandboxes import Environment, Making, Store, recipe_for
from mpkernel.sandboxes.order import Order, read_order
from mpkernel.wire.before_host import NotPrepared, Prepared, Preparing
from mpkernel.wire.frames import Channel, encode_header
from mpkernel.wire.messages import UpMessage, encode

__all__ = ["main"]

_MARK = "MPKERNEL_PROCESS_MARK"


def main(order_fd: int) -> NoReturn:
    """Make the environment, then execute the command of the order.

    Args:
        order_fd: the descriptor of the file with the order.
    """
    order = read_order(order_fd)
    try:
        environment = _environment(order)
    except SandboxError as error:
        _tell(order, NotPrepared(error.what, error.remedy))
        os._exit(os.EX_CONFIG)
    _tell(order, Prepared())
    # The environment counts as used as long as its lock is open somewhere: the app inherits it.
    os.set_inheritable(environment.lock.fd, True)
    command = [*order.wrapper, environment.python, *order.command[1:]]
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]} cannot be executed: {error.strerror}\n".encode())
        os._exit(os.EX_UNAVAILABLE)


def _environment(order: Order) -> Environment:
    _tell(order, Preparing("what the app needs is looked up"))
    recipe = recipe_for(order.app, overlay=order.overlay, left_out=order.left_out, env=order.env)
    if recipe is None:
        raise SandboxError(
            f"{order.app} has lost its header while it was started", remedy="open the app again"
        )

    def say(line: str) -> None:
        _tell(order, Preparing(line))

    # By this variable, the next server finds processes that this server has left running.
    marks = {name: value for name, value in os.environ.items() if name == _MARK}
    env = {**order.env, **marks}
    return Making(recipe, Store(Path(order.directory)), env=env, say=say).environment()


def _tell(order: Order, message: UpMessage) -> None:
    payload = encode(message)
    header = encode_header(Channel.MANAGEMENT, 0, len(payload))
    with open(order.stream_fd, "wb", closefd=False) as pipe:
        pipe.write(header + payload)
