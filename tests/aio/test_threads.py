"""Work that may block: on a thread of its own, or on the loop's where there can be none."""

from __future__ import annotations

import threading
import weakref

import pytest

from mpkernel.aio.threads import off_the_loop


class Work:
    def __call__(self) -> threading.Thread:
        return threading.current_thread()


async def test_when_its_result_is_there_nobody_keeps_it_any_more() -> None:
    works = [Work()]
    kept = weakref.ref(works[0])
    thread = await off_the_loop(works.pop())
    assert thread is not threading.current_thread()
    assert kept() is None


async def test_its_error_is_raised_where_it_is_awaited() -> None:
    with pytest.raises(ZeroDivisionError):
        await off_the_loop(lambda: 1 // 0)


async def test_without_a_thread_the_loop_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert await off_the_loop(Work()) is threading.current_thread()
