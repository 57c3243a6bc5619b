"""Where two answers differ: the pieces are the answers, and mark what changes the meaning."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.report.word_diff import word_diff


def marked(text: str, other: str) -> tuple[str, str]:
    """Both answers with what is marked in brackets."""
    found = word_diff(text, other)
    assert found is not None
    base, tuned = (
        "".join(piece.text if piece.kind == "same" else f"[{piece.text}]" for piece in side) for side in found
    )
    return base, tuned


def test_a_lost_negation_and_a_tenfold_dose_are_marked() -> None:
    assert marked("Returns are not guaranteed.", "Returns are guaranteed.") == (
        "Returns are [not] guaranteed.",
        "Returns are guaranteed.",
    )
    assert marked("Take 5 mg, at most 1,000.50.", "Take 50 mg, at most 1,000.50.") == (
        "Take [5] mg, at most 1,000.50.",
        "Take [50] mg, at most 1,000.50.",
    )


def test_languages_without_spaces_are_compared_by_character() -> None:
    assert marked("保本保收益", "不保本保收益") == ("保本保收益", "[不]保本保收益")


def test_white_space_is_no_difference_and_is_kept() -> None:
    assert marked("one\n two  three", "one two three") == ("one\n two  three", "one two three")


@settings(deadline=None)
@given(st.text(), st.text())
def test_the_pieces_put_together_are_the_answers(base: str, tuned: str) -> None:
    found = word_diff(base, tuned)
    if found is not None:
        assert tuple("".join(piece.text for piece in side) for side in found) == (base, tuned)
    if base == tuned:
        assert found is not None and all(piece.kind == "same" for side in found for piece in side)


def test_answers_with_hardly_a_word_in_common_are_not_marked() -> None:
    assert word_diff("Please call an ambulance now.", "Rest at home for two days") is None


@pytest.mark.parametrize("words", ["the ", "a b ", ". "])
def test_answers_that_repeat_themselves_take_no_time(words: str) -> None:
    began = time.perf_counter()
    word_diff((words * 1000)[:2000], "x" + (words * 999)[:1999])
    assert time.perf_counter() - began < 2
