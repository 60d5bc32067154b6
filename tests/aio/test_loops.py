"""Event loops: which kind is made, how `run` uses it, and calls from other threads."""

from __future__ import annotations

import ast
import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uvloop

import mpkernel
from mpkernel.aio import new_event_loop, run, running_loop
from mpkernel.aio.loops import call_on_loop, result_on_loop

ROOT = Path(mpkernel.__file__).parents[1]


def test_a_new_loop_is_uvloops_where_uvloop_is_installed() -> None:
    loop = new_event_loop()
    assert isinstance(loop, uvloop.Loop)
    loop.close()


def test_a_new_loop_is_asyncios_where_uvloop_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_event_loop()
    assert isinstance(loop, asyncio.SelectorEventLoop)
    loop.close()


def test_run_returns_the_result_and_uses_the_same_factory() -> None:
    async def main() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    loop = run(main())
    assert isinstance(loop, uvloop.Loop)
    assert loop.is_closed()


def test_run_raises_what_the_coroutine_raises() -> None:
    async def main() -> None:
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        run(main())


def test_no_loop_runs_in_a_plain_thread() -> None:
    assert running_loop() is None


async def test_the_running_loop_is_the_one_that_runs() -> None:
    assert running_loop() is asyncio.get_running_loop()


async def test_another_thread_gets_the_result_of_a_call_on_the_loop() -> None:
    loop = asyncio.get_running_loop()
    home = threading.current_thread()
    assert await asyncio.to_thread(result_on_loop, loop, threading.current_thread) is home
    assert result_on_loop(loop, threading.current_thread) is home


async def test_another_thread_gets_the_error_of_a_call_on_the_loop() -> None:
    def call() -> None:
        raise TimeoutError("the call's own")

    with pytest.raises(TimeoutError, match="own"):
        await asyncio.to_thread(result_on_loop, asyncio.get_running_loop(), call)


@pytest.mark.parametrize("make", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_nobody_waits_for_a_loop_that_is_closed(make: Callable[[], Any]) -> None:
    loop = make()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(result_on_loop, loop, threading.current_thread)
        while not waiting.running():
            pass
        loop.close()
        with pytest.raises(RuntimeError, match="closed"):
            waiting.result(10)
    call_on_loop(loop, threading.current_thread)


@pytest.mark.parametrize("package", ["mpkernel", "shm"])
def test_no_code_asks_for_a_loop_that_may_not_run(package: str) -> None:
    implicit = "get_" + "event_loop"
    users = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr == implicit)
        or (isinstance(node, ast.Name) and node.id == implicit)
        or (isinstance(node, ast.alias) and node.name == implicit)
    ]
    assert users == []
