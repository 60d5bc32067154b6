"""`converse`: a real app in a real process, and a message both ways."""

from __future__ import annotations

import asyncio
import os
import time

import msgspec

from mpkernel.aio.loops import run
from mpkernel.errors import MPKernelError
from mpkernel.server.pool import HostPool
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel

__all__ = ["Trial", "converse"]

_ECHO = os.path.join(os.path.dirname(__file__), "echo.py")
_MESSAGE = b"are you well?"


class Trial(msgspec.Struct, frozen=True):
    """The result of the trial.

    Attributes:
        took_s: from the launch to the answer.
        loop: the event loop's package.
        error: why there was no answer; None when there was.
    """

    took_s: float
    loop: str = ""
    error: str | None = None


def converse(
    timeout_s: float = 30.0, python: str | None = None, requirements: tuple[str, ...] = ()
) -> Trial:
    """Start an app and exchange a message with it.

    Args:
        timeout_s: how long both may take together.
        python: see `Settings.python`.
        requirements: see `KernelSpec.requirements`.
    """
    started = time.monotonic()
    try:
        loop = run(_converse(timeout_s, python, requirements))
    except TimeoutError:
        return Trial(timeout_s, error=f"no answer within {timeout_s:g} s")
    except (MPKernelError, OSError, RuntimeError, MemoryError) as error:
        return Trial(time.monotonic() - started, error=_reason(error))
    return Trial(time.monotonic() - started, loop)


def _reason(error: BaseException) -> str:
    """The first error, not the errors that followed while the trial cleaned up."""
    while isinstance(error, RuntimeError) and error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__


async def _converse(timeout_s: float, python: str | None, requirements: tuple[str, ...]) -> str:
    settings = Settings(start_timeout_s=timeout_s, python=python)
    async with asyncio.timeout(timeout_s), HostPool(settings, sweeps=False) as pool:
        kernel = KernelSpec(entry="mpkernel.doctor.echo:main", requirements=requirements)
        session = await pool.open_session(_ECHO, kernel=kernel)
        session.send(Channel.CONTROL, _MESSAGE)
        answer = (await anext(session)).payload
        await session.close()
    if answer != _MESSAGE:
        raise MPKernelError(f"the app said {answer!r}, and was told {_MESSAGE!r}")
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]
