"""What somebody does wrong who uses the library for the first time, and what it says then."""

from __future__ import annotations

import asyncio
import io
import os
import re
from array import array
from pathlib import Path

import pytest
from waiting import PATIENCE_S

from mpkernel import AppRule, Channel, HostPool, Journal, KernelSpec, PythonClient
from mpkernel.aio.awaited import to_be_awaited
from mpkernel.errors import AppNotFound, PoolClosed

KERNEL = KernelSpec(entry="counter:main")


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "counter.py"
    path.write_text("def main(kernel):\n    for message in kernel:\n        pass\n")
    return path


async def test_a_path_that_is_no_file_is_told_with_what_was_meant(app: Path) -> None:
    async with HostPool() as pool:
        with pytest.raises(AppNotFound, match=r"did you mean counter\.py\? .*with_name"):
            await pool.open_session(app.with_name("countr.py"), kernel=KERNEL)
        with pytest.raises(AppNotFound, match="is a folder, and an app is a file"):
            await pool.open_session(app.parent, kernel=KERNEL)
        with pytest.raises(AppNotFound, match="there is no folder"):
            await pool.open_session(app.parent / "apps" / "counter.py", kernel=KERNEL)


async def test_a_path_that_no_file_can_have_is_an_app_that_is_not_found(app: Path) -> None:
    async with HostPool(rules=[AppRule("reports/**", {})]) as pool:
        for path in (f"{app}\0.py", b"\xff.py", "\ud800.py"):
            with pytest.raises(AppNotFound, match="the path .* (NUL|UTF-8)"):
                await pool.open_session(path, kernel=KERNEL)  # type: ignore[arg-type]
            with pytest.raises(AppNotFound, match="the path .* (NUL|UTF-8)"):
                await PythonClient.open(pool, path)  # type: ignore[arg-type]


async def test_a_path_may_be_bytes(app: Path) -> None:
    async with HostPool() as pool:
        session = await pool.open_session(os.fsencode(app), kernel=KERNEL)  # type: ignore[arg-type]
        assert session.app == str(app)


async def test_an_argument_of_a_wrong_type_is_named_with_what_to_pass(app: Path) -> None:
    with pytest.raises(
        TypeError, match=r"settings must be Settings, as in .*, not \{'standby': 1\}"
    ):
        HostPool({"standby": 1})  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"each of rules must be an AppRule.*, not \('a\.py', \{\}\)"
    ):
        HostPool(rules=[("a.py", {})])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"KernelSpec\.entry must be the name of a function"):
        KernelSpec(entry=len)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"KernelSpec\.args must be bytes, not 'a text'"):
        KernelSpec(entry="counter:main", args="a text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"KernelSpec\.argv must be a tuple of strings, not '-v'"):
        KernelSpec(entry="counter:main", argv="-v")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"each of KernelSpec\.argv must be a string, not 7"):
        KernelSpec(entry="counter:main", argv=("-v", 7))  # type: ignore[arg-type]
    async with HostPool() as pool:
        with pytest.raises(TypeError, match=r"kernel must be a KernelSpec, .*, not 'counter:main'"):
            await pool.open_session(app, kernel="counter:main")  # type: ignore[arg-type]
        with pytest.raises(
            TypeError, match="journal must be a Journal, the object and not its class"
        ):
            await pool.open_session(app, kernel=KERNEL, journal=Journal)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="authority must be a string, not 7"):
            await pool.open_session(app, kernel=KERNEL, authority=7)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="pool must be a HostPool; the app's path follows it"):
            await PythonClient.open(app, pool)  # type: ignore[arg-type]


@pytest.mark.parametrize("patience_s", [-1.5, float("nan"), float("inf"), 10**400, 3])
async def test_a_session_is_stopped_with_any_number_and_no_other_ends(
    app: Path, patience_s: float
) -> None:
    async with HostPool() as pool:
        other = await pool.open_session(app, kernel=KERNEL)
        session = await pool.open_session(app, kernel=KERNEL)
        session.stop(patience_s=patience_s)
        assert [message async for message in session] == []
        assert not other.over
        assert other.pid == (await pool.open_session(app, kernel=KERNEL)).pid


async def test_a_session_is_not_stopped_with_what_is_no_number(app: Path) -> None:
    async with HostPool() as pool:
        session = await pool.open_session(app, kernel=KERNEL)
        for wrong in ("5", None):
            with pytest.raises(TypeError, match="patience_s must be a number of seconds"):
                session.stop(patience_s=wrong)  # type: ignore[arg-type]
        assert not session.over


async def test_a_forgotten_await_is_named_whatever_is_done_without_it(app: Path) -> None:
    async with HostPool() as pool:
        example = "`session = await pool.open_session"
        with pytest.raises(TypeError, match=example):
            pool.open_session(app, kernel=KERNEL).send(Channel.CONTROL, b"1")  # type: ignore
        with pytest.raises(AttributeError, match=example):
            _ = pool.open_session(app, kernel=KERNEL).host  # type: ignore
        with pytest.raises(TypeError, match=example):
            async for _ in pool.open_session(app, kernel=KERNEL):  # type: ignore
                pass
        with pytest.raises(TypeError, match="`client = await PythonClient.open"):
            async with PythonClient.open(pool, app):  # type: ignore
                pass


async def test_a_task_goes_on_when_it_is_shown_before_and_while_it_runs() -> None:
    event = asyncio.Event()

    @to_be_awaited("await waited(…)")
    async def waited() -> bool:
        return await event.wait()

    task = asyncio.create_task(waited())
    for _ in range(2):
        assert "waited" in repr(task)
        task.print_stack(file=io.StringIO())
        await asyncio.sleep(0)
    event.set()
    assert await asyncio.wait_for(task, PATIENCE_S)


async def test_what_is_to_be_awaited_is_a_coroutine_for_tasks_and_time_outs() -> None:
    @to_be_awaited("await double(…)")
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        if number < 0:
            raise ValueError(number)
        return 2 * number

    assert await asyncio.create_task(double(1)) == 2
    assert await asyncio.wait_for(double(2), PATIENCE_S) == 4
    assert await asyncio.gather(double(3), double(4)) == [6, 8]
    with pytest.raises(ValueError, match="-1"):
        await double(-1)
    cancelled = asyncio.create_task(double(5))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled


def test_a_pool_whose_loop_was_closed_says_so(app: Path) -> None:
    async def opened() -> HostPool:
        pool = HostPool()
        await pool.open_session(app, kernel=KERNEL)
        return pool

    async def use(pool: HostPool) -> None:
        await pool.open_session(app, kernel=KERNEL)

    pool = asyncio.run(opened())
    with pytest.raises(PoolClosed, match=r"the pool's event loop was closed.*asyncio\.run"):
        asyncio.run(use(pool))


async def test_what_the_embedded_kernel_would_drop_is_refused_by_name(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("")
    async with HostPool() as pool:
        with pytest.raises(TypeError, match="session_id must be a string, not 3"):
            await PythonClient.open(pool, app, session_id=3)  # type: ignore[arg-type]
        async with await PythonClient.open(pool, app) as client:
            with pytest.raises(TypeError, match="cell must be str, not int"):
                client.execute("1", cell=1)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="code must be str, not bytes"):
                client.execute(b"1", cell="a")  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="name must be str, not int"):
                client.set_values({1: 2})  # type: ignore[dict-item]
            with pytest.raises(TypeError, match="cursor must be int, not str"):
                client.complete(1, "a", "1")  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="text must be str, not int"):
                client.answer(3)  # type: ignore[arg-type]


async def test_what_is_no_message_is_named_and_the_session_goes_on(tmp_path: Path) -> None:
    app = tmp_path / "echo.py"
    app.write_text(
        "def main(kernel):\n"
        "    try:\n"
        "        kernel.send('a text')\n"
        "    except TypeError as error:\n"
        "        kernel.send(str(error).encode())\n"
        "    for message in kernel:\n"
        "        kernel.send(message.payload)\n"
    )
    async with HostPool() as pool:
        session = await pool.open_session(app, kernel=KernelSpec(entry="echo:main"))
        said = "the payload of a message must be bytes, not str; for a text, send text.encode()"
        assert (await anext(session)).payload.decode() == said
        with pytest.raises(TypeError, match=re.escape(said)):
            session.send(Channel.CONTROL, "a text")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="must be bytes, not int"):
            session.send(Channel.CONTROL, 20)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"a member of mpkernel\.Channel, not 'control'"):
            session.send("control", b"1")  # type: ignore[arg-type]
        session.send(Channel.CONTROL, memoryview(array("I", [1, 2])))  # type: ignore[arg-type]
        session.send(Channel.CONTROL, b"the next")
        assert len((await anext(session)).payload) == 2 * array("I").itemsize
        assert (await anext(session)).payload == b"the next"
