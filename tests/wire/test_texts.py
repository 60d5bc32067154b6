"""Long texts in pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpkernel.wire.bounds import LEAST_FRAME_BYTES
from mpkernel.wire.texts import PIECE_BYTES, most_bytes, pieces


@given(st.text(min_size=1, max_size=50), st.integers(0, 20_000))
def test_pieces_are_the_text_and_fit_into_the_smallest_message(text: str, times: int) -> None:
    text *= times
    cut = pieces(text)
    assert "".join(cut) == text
    assert cut
    for piece in cut:
        size = len(piece.encode(errors="surrogatepass"))
        assert size <= most_bytes(piece) <= PIECE_BYTES < LEAST_FRAME_BYTES


def test_a_text_is_cut_into_few_pieces() -> None:
    assert len(pieces("x" * PIECE_BYTES)) == 1
    assert len(pieces("x" * (PIECE_BYTES + 1))) == 2
    assert len(pieces("日" * PIECE_BYTES)) == 4
