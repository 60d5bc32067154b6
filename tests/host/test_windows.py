"""The windows of a host's sessions: whose writers wait, and what lets them go on."""

from __future__ import annotations

import threading

from waiting import PATIENCE_S

from mpkernel.host.windows import HostWindow, Window
from mpkernel.wire.windows import GUARANTEED_BYTES

MEBI = 1024 * 1024


def waiting(window: Window, count: int) -> tuple[threading.Thread, list[bool]]:
    """A thread that reserves, and where its answer will stand."""
    answer: list[bool] = []
    thread = threading.Thread(target=lambda: answer.append(window.reserve(count)))
    thread.start()
    return thread, answer


def test_a_full_window_lets_its_writer_wait_until_there_is_credit() -> None:
    window = Window(100, HostWindow(800))
    assert window.reserve(60)
    thread, answer = waiting(window, 60)
    thread.join(0.05)
    assert thread.is_alive()
    window.refund(40)
    thread.join(PATIENCE_S)
    assert answer == [True]


def test_a_message_larger_than_the_window_goes_when_little_is_outstanding() -> None:
    window = Window(100, HostWindow(800))
    assert window.reserve(25)
    assert window.reserve(1000)
    thread, answer = waiting(window, 1)
    thread.join(0.05)
    assert thread.is_alive()
    window.refund(1000)
    thread.join(PATIENCE_S)
    assert answer == [True]


def test_a_full_window_of_one_session_holds_no_other() -> None:
    shared = HostWindow(1000)
    full, other = Window(100, shared), Window(100, shared)
    assert full.reserve(100)
    assert other.reserve(100)


def test_sessions_that_nobody_reads_leave_room_for_another() -> None:
    shared = HostWindow(64 * MEBI)
    for _ in range(100):
        stalled = Window(8 * MEBI, shared)
        while stalled.reserve(10_000, wait=False):
            pass
    healthy = Window(8 * MEBI, shared)
    assert healthy.reserve(MEBI, wait=False)
    assert shared.used <= 64 * MEBI


def test_a_session_has_its_guaranteed_bytes_beside_a_message_that_fills_the_host() -> None:
    shared = HostWindow(MEBI)
    assert Window(MEBI, shared).reserve(10 * MEBI)
    healthy = Window(MEBI, shared)
    assert healthy.reserve(GUARANTEED_BYTES, wait=False)
    assert not healthy.reserve(1, wait=False)


def test_a_session_over_its_guarantee_waits_until_another_gives_room_back() -> None:
    shared = HostWindow(MEBI)
    first, second = Window(MEBI, shared), Window(MEBI, shared)
    assert first.reserve(10 * MEBI)
    assert second.reserve(GUARANTEED_BYTES)
    thread, answer = waiting(second, 100)
    thread.join(0.05)
    assert thread.is_alive()
    first.refund(10 * MEBI)
    thread.join(PATIENCE_S)
    assert answer == [True]


def test_closing_a_window_lets_its_waiters_go_and_gives_back_what_it_held() -> None:
    shared = HostWindow(100)
    window, other = Window(100, shared), Window(100, shared)
    assert window.reserve(90)
    thread, answer = waiting(window, 50)
    thread.join(0.05)
    assert thread.is_alive()
    window.close()
    thread.join(PATIENCE_S)
    assert answer == [False]
    assert other.reserve(90)
