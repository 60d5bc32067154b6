from __future__ import annotations

import ast
import asyncio
import sys
from pathlib import Path

import pytest
import uvloop

import mpkernel
from mpkernel.aio import new_event_loop, run, running_loop

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
