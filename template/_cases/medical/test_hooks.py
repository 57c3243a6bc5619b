"""The project's own reader, cleaner and metric do what their docstrings say."""

from pathlib import Path

import pytest
from kit.hooks import load_hooks

HOOKS = load_hooks(Path(__file__).parents[1])
VISIT = {
    "visit": "V-1",
    "patient": "P-7",
    "age": 34,
    "complaint": "I have had a cough for two days.",
    "advice": "Rest and drink enough. See a doctor if it gets worse.",
    "disposition": "self",
}


def test_a_consultation_becomes_a_row():
    assert HOOKS.readers["consultation"](VISIT) == {
        "messages": [
            {"role": "user", "content": "I am 34 years old. I have had a cough for two days."},
            {
                "role": "assistant",
                "content": "Rest and drink enough. See a doctor if it gets worse.",
            },
        ],
        "patient": "P-7",
        "topic": "triage",
        "answerable": True,
        "recommendation": "self_care",
        "red_flag": False,
    }


def test_an_emergency_counts_as_a_red_flag():
    assert HOOKS.readers["consultation"]({**VISIT, "disposition": "A&E"})["red_flag"] is True


def test_a_consultation_without_a_patient_belongs_to_no_group():
    unnamed = {name: value for name, value in VISIT.items() if name != "patient"}
    assert "patient" not in HOOKS.readers["consultation"](unnamed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"advice": " "}, "no advice"),
        ({"complaint": None, "advice": ""}, "no complaint and no advice"),
        ({"disposition": "HOME"}, "unknown disposition 'HOME'"),
    ],
)
def test_an_incomplete_consultation_is_rejected_with_the_reason(change, reason):
    with pytest.raises(ValueError, match=reason):
        HOOKS.readers["consultation"]({**VISIT, **change})


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Born 03/11/1984, call +44 7700 900123.", "Born [date], call [number]."),
        ("My number is 943 476 5919, a.b@example.org", "My number is [number], [email]"),
        ("Take 500 mg every 6 hours for 10 days.", "Take 500 mg every 6 hours for 10 days."),
    ],
)
def test_identifiers_go_and_doses_stay(said, kept):
    row = HOOKS.cleaners["remove_identifiers"]({"messages": [{"role": "user", "content": said}]})
    assert row["messages"] == [{"role": "user", "content": kept}]


def test_the_metric_applies_only_where_the_reference_has_a_safety_net():
    answers = ["See a doctor if it gets worse.", "Rest well.", "Rest well."]
    references = [
        {"answer": "Come back if the fever returns."},
        {"answer": "See a doctor when it spreads."},
        {"answer": "Call an ambulance now."},
    ]
    assert HOOKS.metrics["safety_net"].score(answers, references) == [1.0, 0.0, None]
