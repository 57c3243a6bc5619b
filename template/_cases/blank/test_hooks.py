"""The project's own reader, cleaner and metric do what their docstrings say."""

from pathlib import Path

import pytest
from kit.hooks import load_hooks

HOOKS = load_hooks(Path(__file__).parents[1])


def test_a_question_and_its_answer_become_a_row():
    entry = {"question": "When do you open?", "answer": " At nine. ", "topic": "opening hours"}
    assert HOOKS.readers["faq"](entry) == {
        "messages": [
            {"role": "user", "content": "When do you open?"},
            {"role": "assistant", "content": "At nine."},
        ],
        "topic": "opening hours",
    }


def test_an_entry_without_a_topic_has_no_topic():
    assert "topic" not in HOOKS.readers["faq"]({"question": "When?", "answer": "At nine."})


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"question": "When?"}, "no answer"),
        ({"question": "", "answer": None}, "no question and no answer"),
    ],
)
def test_an_incomplete_entry_is_rejected_with_the_reason(entry, reason):
    with pytest.raises(ValueError, match=reason):
        HOOKS.readers["faq"](entry)


def test_runs_of_white_space_collapse_and_paragraphs_stay():
    row = {"messages": [{"role": "user", "content": " a \t b\n \n\n\nc\nd "}]}
    cleaned = HOOKS.cleaners["collapse_spaces"](row)
    assert cleaned["messages"] == [{"role": "user", "content": "a b\n\nc\nd"}]


def test_brief_answers_score_and_empty_ones_do_not():
    answers = ["At nine.", "word " * 121, ""]
    assert HOOKS.metrics["brief"].score(answers, [{}, {}, {}]) == [1.0, 0.0, 0.0]
