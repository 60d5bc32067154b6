"""A kernel that cannot be started leaves no session and no process, and harms no other."""

from __future__ import annotations

import asyncio

import pytest
from halves import queued_of
from waiting import PATIENCE_S

from mpkernel import Channel, HostPool, KernelSpec, Settings
from mpkernel.errors import HostStartError, ProtocolError, SettingsError

from .conftest import APPS, Open

APP = APPS / "kernels.py"
TOO_LARGE = KernelSpec(entry="kernels:echo", args=b"x" * 100_000)


@pytest.fixture
def settings() -> Settings:
    return Settings(max_frame_bytes=64 * 1024, idle_retire_s=0)


async def test_arguments_over_the_largest_message_leave_no_session(
    pool: HostPool, open_kernel: Open
) -> None:
    session = await open_kernel("echo")
    (host,) = pool.hosts
    with pytest.raises(ProtocolError, match="over the limit"):
        await pool.open_session(APP, kernel=TOO_LARGE, session_id="alice")
    assert host.sessions == [queued_of(session)]
    again = await pool.open_session(
        APP, kernel=KernelSpec(entry="kernels:echo"), session_id="alice"
    )
    again.send(Channel.CONTROL, b"here")
    assert (await anext(again)).payload == b"here"


async def test_the_process_that_was_started_for_them_retires(pool: HostPool) -> None:
    with pytest.raises(ProtocolError):
        await pool.open_session(APP, kernel=TOO_LARGE)
    (host,) = pool.hosts
    async with asyncio.timeout(PATIENCE_S):
        await host.wait_over()
    assert pool.hosts == []


async def test_an_argv_over_the_largest_message_costs_the_next_session_nothing(
    pool: HostPool, open_kernel: Open
) -> None:
    with pytest.raises(HostStartError, match="argv"):
        await open_kernel("echo", argv=("x" * 100_000,))
    assert pool.hosts == []
    session = await open_kernel("echo")
    assert not session.over


@pytest.mark.parametrize(
    "spec",
    [
        {"entry": "kernels:\ud800"},
        {"entry": "kernels:echo", "argv": ("\ud800",)},
        {"entry": "kernels:echo", "env": {"NAME": "\ud800"}},
        {"entry": "kernels:echo", "env": {"NA=ME": "value"}},
        {"entry": "kernels:echo", "env": {"": "value"}},
        {"entry": "kernels:echo", "env": {"NAME": "a\0b"}},
    ],
)
def test_what_no_process_can_be_given_is_refused_when_it_is_named(spec: dict[str, object]) -> None:
    field = list(spec)[-1]
    with pytest.raises(SettingsError, match=f"KernelSpec.{field}"):
        KernelSpec(**spec)  # type: ignore[arg-type]


def test_an_environment_may_hold_bytes_that_are_no_utf8() -> None:
    assert KernelSpec(
        entry="kernels:echo", env={"NAME": b"\xff".decode("utf-8", "surrogateescape")}
    )
