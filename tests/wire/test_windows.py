"""The rules by which both ends of a Pipe decide what may be sent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpkernel.wire.windows import GUARANTEED_BYTES, goes_beyond_share, has_room, share_of

SIZES = st.integers(1, 1 << 30)


@given(count=SIZES, size=SIZES)
def test_a_message_of_any_size_goes_when_nothing_is_outstanding(count: int, size: int) -> None:
    assert has_room(count, 0, size)


def first_goes(count: int, size: int, host_size: int, used: int) -> bool:
    """Whether the first message of a session may be sent."""
    share = share_of(size, host_size, used)
    return count <= share or goes_beyond_share(count, 0, share, host_size=host_size, host_used=used)


@given(count=SIZES, size=SIZES, host_size=SIZES)
def test_the_same_is_so_while_nothing_of_the_host_is_in_use(
    count: int, size: int, host_size: int
) -> None:
    assert first_goes(count, size, host_size, 0)


@given(size=SIZES, host_size=SIZES, used=st.integers(0, 1 << 31))
def test_a_share_is_the_guaranteed_bytes_at_least_and_the_window_at_most(
    size: int, host_size: int, used: int
) -> None:
    share = share_of(size, host_size, used)
    assert min(size, GUARANTEED_BYTES) <= share <= size


@given(counts=st.lists(SIZES), size=SIZES, host_size=SIZES)
def test_sessions_that_nobody_reads_exceed_the_hosts_window_by_one_message_at_most(
    counts: list[int], size: int, host_size: int
) -> None:
    used = 0
    for count in counts:  # each the first of a session
        if first_goes(count, size, host_size, used):
            used += max(0, count - min(size, GUARANTEED_BYTES))
    assert used <= host_size + max(counts, default=0)
