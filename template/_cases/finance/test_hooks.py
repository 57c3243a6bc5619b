"""The project's own reader, cleaner and metric do what their docstrings say."""

from pathlib import Path

import pytest
from kit.hooks import load_hooks

HOOKS = load_hooks(Path(__file__).parents[1])


def transcript(*turns: tuple[str, str]) -> dict:
    return {
        "conversation": "C-1",
        "customer": "K-9",
        "topic": "cards",
        "turns": [{"speaker": speaker, "text": text} for speaker, text in turns],
    }


def test_a_transcript_becomes_a_row():
    row = HOOKS.readers["transcript"](
        transcript(
            ("agent", "Welcome to the chat."),
            ("customer", "Hello."),
            ("customer", "Why was I charged a fee?"),
            ("agent", "The fee is for the transfer abroad."),
            ("customer", "Thanks"),
        )
    )
    assert row == {
        "messages": [
            {"role": "user", "content": "Hello. Why was I charged a fee?"},
            {"role": "assistant", "content": "The fee is for the transfer abroad."},
        ],
        "customer": "K-9",
        "topic": "cards",
    }


def test_a_transcript_without_a_customer_belongs_to_no_group():
    record = transcript(("customer", "Why a fee?"), ("agent", "For the transfer."))
    del record["customer"]
    assert "customer" not in HOOKS.readers["transcript"](record)


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([("customer", "Is anybody there?")], "no question that an agent answered"),
        ([("bot", "Hi"), ("customer", "Hi")], "unknown speaker bot"),
    ],
)
def test_a_transcript_without_an_answer_is_rejected_with_the_reason(turns, reason):
    with pytest.raises(ValueError, match=reason):
        HOOKS.readers["transcript"](transcript(*turns))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Pay to DE89 3704 0044 0532 0130 00 today", "Pay to [account] today"),
        ("My card is 4000-0012-3456-7899.", "My card is [account]."),
        ("It cost 1200 euros on 2026-03-14", "It cost 1200 euros on 2026-03-14"),
    ],
)
def test_account_numbers_are_masked_and_amounts_are_kept(said, kept):
    row = HOOKS.cleaners["mask_account_numbers"]({"messages": [{"role": "user", "content": said}]})
    assert row["messages"] == [{"role": "user", "content": kept}]


def test_the_metric_applies_only_where_the_reference_refers_to_a_person():
    answers = ["Please speak to an adviser.", "Buy the fund.", "The fee is two euros."]
    references = [
        {"answer": "An adviser can look at your goals."},
        {"answer": "Your branch can arrange that."},
        {"answer": "The fee is two euros."},
    ]
    assert HOOKS.metrics["refers_to_a_person"].score(answers, references) == [1.0, 0.0, None]
