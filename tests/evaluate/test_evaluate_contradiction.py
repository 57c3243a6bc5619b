"""What says the opposite: by hand in three languages, on annotated conclusions, and what it must not flag."""

import json
import os
from pathlib import Path

import evaluate
import pytest

from kit.config.schema import MetricUse
from kit.evaluate.metrics import load_metric, score
from kit.evaluate.polarity import contradicted, overlap, statements
from kit.hooks import Hooks

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CASEKIT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def judge(answer, reference, **params):
    metric = load_metric(MetricUse(name="contradiction", params=params), Hooks(), ROOT)
    result = score(metric, [answer], [reference])
    return result.items[0], result.details[0]


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("The fee must be charged.", "The fee must not be charged."),
        ("You should not take the tablets with food.", "You should take the tablets with food."),
        ("The drug is dangerous in pregnancy.", "The drug is safe in pregnancy."),
        ("The clinical predictors are adequate.", "Clinical predictors appear inadequate."),
        ("Neither insertion nor timing of tubes affects survival.", "Timing of tubes affects survival."),
        ("The keyboard does not come with an adapter.", "The keyboard comes with an adapter."),
        ("Le rendement du fonds est garanti.", "Le rendement du fonds n'est pas garanti."),
        ("No es posible devolver el pedido.", "Es posible devolver el pedido."),
        ("We help you. The fee is not refunded.", "Hello! The fee is refunded, and we help you."),
    ],
)
def test_the_opposite_of_the_reference_is_a_contradiction_both_ways(answer, reference):
    for one, other in ((answer, reference), (reference, answer)):
        item, (reason,) = judge(one, {"answer": other})
        assert item == 1 and reason.startswith("denies the reference: “")
        assert judge(one, {"answer": one}) == (0, [])


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("The fee is not only charged but also refunded.", "The fee is charged."),
        ("It is impossible that the fee is not charged.", "The fee is charged."),
        ("Is the fee not charged?", "The fee is charged."),
        ("If you cancel, the fee is not charged.", "The fee is charged."),
        ("The fee is not charged on savings; the fee is charged on loans.", "The fee is charged on loans."),
        ("The garden is not open.", "The fee is charged."),
        ("It does not work.", "It works."),  # one shared word is too little
        ("Take 5 mg of it twice a day.", "Take 50 mg of it twice a day."),
    ],
)
def test_what_is_no_contradiction(answer, reference):
    assert judge(answer, {"answer": reference}) == (0, [])


def test_yes_and_no_answer_the_question():
    asked = {"prompt": "Hello. Can the lamp be returned to the shop?"}
    assert judge("Yes, of course.", {**asked, "answer": "No, we are sorry."})[0] == 1
    assert judge("No, we are sorry.", {**asked, "answer": "The lamp can be returned to any shop."})[0] == 1
    assert judge("Yes, of course.", {**asked, "answer": "Yes, any time."})[0] == 0
    assert judge("No lamp is too old.", {**asked, "answer": "Yes, any time."})[0] == 0


def test_an_answer_against_itself():
    item, reasons = judge("The fee is charged twice. The fee is not charged twice.", {"answer": "Hm."})
    assert (item, reasons) == (
        1,
        ["denies itself: “The fee is charged twice” against “The fee is not charged twice”"],
    )


def test_a_required_fact_that_is_only_denied():
    facts = {"required": [["30 days", "a month"]]}
    assert judge("You cannot return it within 30 days.", facts) == (1, ["denies: 30 days / a month"])
    assert judge("You can return it within 30 days.", facts)[0] == 0
    assert judge("You cannot return it within 30 days, but you can within a month.", facts)[0] == 0
    assert judge("Write to us.", facts)[0] == 0  # left out, which is another metric's matter
    assert judge("Write to us.", {"topic": "returns"})[0] is None


def test_a_recommendation_or_must_rule_that_is_only_denied(policy_file):
    policy = {"policy": str(policy_file)}
    wanted = {"recommendation": "emergency", "topic": "funds"}
    for answer in ("There is no need to call an ambulance.", "It is too early to call an ambulance."):
        assert judge(answer, wanted, **policy) == (1, ["advises against emergency"])
    assert judge("Do not drive, call an ambulance.", wanted, **policy)[0] == 0
    assert judge("Rest at home.", wanted, **policy)[0] == 0
    assert judge("None of its value can fall.", wanted, **policy) == (1, ["denies F2"])


def test_it_can_be_used_alone():
    metric = evaluate.load(str(ROOT / "kit/evaluate/metrics/contradiction"))
    found = metric.compute(
        predictions=["The fee must be charged.", ""],
        references=['{"answer": "The fee must not be charged."}', "{}"],
    )
    assert (found["contradiction"], found["n"], found["items"]) == (1.0, 1, [1.0, None])


def test_conclusions_that_deny_the_question_of_pubmedqa_are_found_as_the_card_says():
    path = DATA / "medical_pubmedqa_en.jsonl"
    if not path.is_file():
        pytest.skip(f"real data is not here: {path} (set CASEKIT_SHARED_DATA to its folder)")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    rows = [row for row in rows if row["final_decision"] != "maybe"]
    said = [
        (bool(contradicted(statements(r["long_answer"]), statements("yes", r["question"]))), r) for r in rows
    ]
    flagged = [row["final_decision"] for found, row in said if found]
    assert (len(rows), len(flagged), flagged.count("no")) == (445, 31, 29)
    assert sum(row["final_decision"] == "no" for row in rows) == 169


def test_overlap_is_dices_and_symmetric():
    (one,), (other,) = statements("the red fee is charged"), statements("a fee is charged late today")
    assert overlap(one, other) == overlap(other, one) == 2 * 2 / (3 + 4)
