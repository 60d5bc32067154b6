"""How many columns of a terminal a text takes."""

from __future__ import annotations

import pytest

from mpkernel.text_width import beginning, width

TEXTS = [
    ("", 0),
    ("plain", 5),
    ("é", 1),
    ("e\N{COMBINING ACUTE ACCENT}", 1),
    ("報告", 4),
    ("\N{FULLWIDTH LATIN CAPITAL LETTER A}", 2),
    ("ก\N{THAI CHARACTER SARA I}น", 2),  # its vowel stands above the letter
    ("क\N{DEVANAGARI VOWEL SIGN U}", 1),
    ("\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}", 1),
]


@pytest.mark.parametrize(("text", "columns"), TEXTS)
def test_a_text_takes_the_columns_that_terminals_give_it(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize("text", ["plain", "報告 2026", "e\N{COMBINING ACUTE ACCENT}té 報"])
def test_the_beginning_of_a_text_is_the_longest_that_fits(text: str) -> None:
    for columns in range(width(text) + 2):
        cut = beginning(text, columns)
        assert text.startswith(cut)
        assert width(cut) <= columns
        assert cut == text or width(text[: len(cut) + 1]) > columns
    assert beginning(text, -1) == ""
