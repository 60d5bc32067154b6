"""Messages over `max_frame_bytes`: their sender is told, and nobody else notices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from mpkernel import Channel, Session, Settings
from mpkernel.errors import KernelFailed, ProtocolError

Open = Callable[..., Awaitable[Session]]

LIMIT = 64 * 1024


@pytest.fixture
def settings() -> Settings:
    return Settings(max_frame_bytes=LIMIT, window_bytes=1000)


async def test_a_kernel_whose_traceback_is_over_the_limit_ends_all_the_same(
    open_kernel: Open,
) -> None:
    session = await open_kernel("failing:fail_at_length", args=b"%d" % (2 * LIMIT))
    with pytest.raises(KernelFailed, match="its traceback is in the log only"):
        await anext(session)


async def test_a_message_over_the_limit_is_refused_at_once_though_others_wait_before_it(
    open_kernel: Open,
) -> None:
    session = await open_kernel("echo")
    for _ in range(2):  # in one turn of the loop: no credit arrives between
        session.send(Channel.CONTROL, bytes(1000))
    with pytest.raises(ProtocolError, match="max_frame_bytes"):
        session.send(Channel.CONTROL, bytes(2 * LIMIT))
    session.send(Channel.CONTROL, b"next")
    assert [(await anext(session)).payload for _ in range(3)] == [bytes(1000)] * 2 + [b"next"]
