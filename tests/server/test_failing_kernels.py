"""A kernel that fails, or ends by itself: its client is told, and its neighbours go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from server.conftest import Open, ask
from waiting import PATIENCE_S

from mpkernel import Channel, Session
from mpkernel.errors import KernelFailed


async def test_a_kernel_that_fails_says_so_with_its_traceback(open_kernel: Open) -> None:
    session = await open_kernel("failing:fail")
    with pytest.raises(KernelFailed, match="this kernel fails on purpose"):
        await anext(session)


@pytest.mark.parametrize("entry", ["failing:wait_for_nothing", "failing:yield_something"])
async def test_a_kernel_that_only_an_event_loop_or_a_loop_would_run_says_so(
    open_kernel: Open, entry: str
) -> None:
    session = await open_kernel(entry)
    with pytest.raises(KernelFailed, match=f"{entry} is an async function or a generator"):
        await anext(session)


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("failing:fail_without_utf8", r"RuntimeError: a lone \\ud800"),
        ("failing:fail_without_source", r'File "nowhere\.py", line 1[^:]*\nZeroDivisionError'),
    ],
)
async def test_a_kernel_whose_failure_cannot_be_written_says_so_too(
    open_kernel: Open, entry: str, what: str
) -> None:
    session = await open_kernel(entry)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(KernelFailed, match=what):
            await anext(session)


async def test_a_kernel_that_does_not_exist_fails_alone(open_kernel: Open) -> None:
    neighbour = await open_kernel("echo")
    session = await open_kernel("no_such_function")
    with pytest.raises(KernelFailed, match="no_such_function"):
        await anext(session)
    assert await ask(neighbour, b"fine") == b"fine"


async def test_sys_exit_in_a_kernel_ends_its_session_alone(open_kernel: Open) -> None:
    neighbour = await open_kernel("echo")
    session = await open_kernel("exit_by_system_exit")
    assert [message async for message in session] == []
    assert await ask(neighbour, b"fine") == b"fine"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("kernel.progressed(1.5, 0)", b"TypeError('begun must be a number of commands"),
        ("kernel.progressed(1, None)", b"TypeError('done must be a number of commands"),
        ("kernel.progressed(1, -1)", b"ValueError('done must be a number of commands"),
        ("kernel.progressed(2**70, 0)", b"ValueError('begun must be a number of commands"),
        ("kernel.progressed(True, False)", b"done"),
        ("kernel.send(b'x', 0)", b"TypeError(\"Channel.MANAGEMENT is mpkernel's own"),
        ("kernel.send(b'x', [])", b"TypeError('the channel of a message must be a member"),
        ("kernel.interruptible_by(None)", b"TypeError('interruptible_by takes a function"),
        ("kernel.files.create(b'x', media_type=None)", b'TypeError("the media type of a virtual'),
        ("kernel.files.create(b'x', extension='\\ud800')", b"ValueError("),
    ],
)
async def test_a_kernels_mistake_is_its_own_error_and_no_end_of_the_process(
    open_kernel: Open, call: str, says: bytes
) -> None:
    neighbour = await open_kernel("echo")
    session = await open_kernel("failing:make_mistakes")
    answer = await ask(session, call.encode())
    assert answer.startswith(says), answer
    assert await ask(session, b"kernel.progressed(0, 0)") == b"done"
    assert await ask(neighbour, b"fine") == b"fine"


@pytest.mark.parametrize("channel", [0, Channel.MANAGEMENT])
async def test_what_a_client_sends_on_mpkernels_own_channel_is_refused(
    open_kernel: Open, channel: Any
) -> None:
    session = await open_kernel("echo")
    with pytest.raises(TypeError, match="mpkernel's own"):
        session.send(channel, b"hello")
    assert await ask(session, b"fine") == b"fine"


async def test_an_interrupt_of_a_kernel_that_fails_ends_no_other_session(open_kernel: Open) -> None:
    neighbour = await open_kernel("echo")
    session = await open_kernel("failing:wait_and_fail_to_interrupt")
    assert (await anext(session)).payload == b"begun"
    await session.close()
    assert await ask(neighbour, b"fine") == b"fine"
    assert (await ask(await open_kernel("pid"), b"")).isdigit()


@pytest.mark.parametrize("name", ["settrace", "setprofile"])
async def test_a_kernel_whose_thread_ends_before_it_runs_fails_and_the_next_goes_elsewhere(
    open_kernel: Open, name: str
) -> None:
    neighbour = await open_kernel(f"thread_breakers:fail_each_thread_by_{name}")
    await anext(neighbour)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(KernelFailed, match="ended before the kernel ran"):
            await open_kernel("echo")
    await goes_elsewhere(open_kernel, neighbour)


@pytest.mark.parametrize("name", ["set_threading_excepthook_to_none", "delete_sys_excepthook"])
async def test_where_an_app_keeps_threads_from_starting_the_next_but_one_goes_elsewhere(
    open_kernel: Open, name: str
) -> None:
    neighbour = await open_kernel(f"thread_breakers:{name}")
    await anext(neighbour)
    with pytest.raises(KernelFailed, match="no thread could be started"):
        await open_kernel("echo")
    await goes_elsewhere(open_kernel, neighbour)


async def goes_elsewhere(open_kernel: Open, neighbour: Session) -> None:
    """A new session gets another process than this one, which goes on."""
    session = await open_kernel("echo")
    assert await ask(session, b"fine") == b"fine"
    assert session.pid != neighbour.pid
    assert await ask(neighbour, b"here") == b"here"
