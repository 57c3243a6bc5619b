"""The cost model of labour against an example worked by hand, its range, and the claim it answers."""

import json
from itertools import pairwise

import numpy as np
import pytest
from gate_samples import interval, metric

from kit.config.errors import ConfigError
from kit.config.gates import Claim
from kit.config.labour import Labour
from kit.evaluate.claims import judge_claims
from kit.evaluate.labour import model_labour, saving

TYPED = {
    "contacts": 10_000,
    "minutes_per_contact": 6,
    "hourly_wage": 20,
    "review_share": 0.1,
    "minutes_per_review": 3,
    "inference_cost": 0.02,
    "currency": "EUR",
}
RANGES = TYPED | {
    "minutes_per_contact": [5, 6, 9],
    "review_share": [0.05, 0.1, 0.4],
    "inference_cost": [0.01, 0.02, 0.1],
}
CLAIM = Claim(name="Labour down", modelled_by="labour", at_least=0.6, source="a case")


def scores(base=(0.3, 0.24, 0.37), tuned=(0.8, 0.74, 0.85), **changes):
    entry = metric(
        "resolution_rate", interval(*tuned), base=interval(*base), higher_is_better=True, label="Resolved"
    )
    return {
        "metrics": [entry | changes],
        "unscored": [],
        "synthetic": True,
        "confidence": 0.95,
        "validity": {"greedy": {"base": {"n": 200, "invalid": 0}, "tuned": {"n": 200, "invalid": 0}}},
    }


def model(typed=TYPED, **changes):
    return model_labour(scores(**changes), Labour.model_validate(typed))


def test_a_worked_example():
    """By hand 6 min at 20 an hour are 2.00; a review of 3 min of one in ten costs 0.10 a contact.

    Base: 0.7·2.00 + 0.3·0.10 + 0.02 = 1.45. Tuned: 0.2·2.00 + 0.8·0.10 + 0.02 = 0.50.
    """
    found = model(base=(0.3, 0.3, 0.3), tuned=(0.8, 0.8, 0.8))
    per_contact = {who: cost["estimate"] for who, cost in found["per_contact"].items()}
    assert per_contact == pytest.approx({"people": 2.0, "base": 1.45, "tuned": 0.5})
    assert found["per_month"]["tuned"]["estimate"] == pytest.approx(5000)
    assert found["saving"]["estimate"] == pytest.approx(1 - 0.5 / 1.45)
    assert found["saving_against_people"]["estimate"] == pytest.approx(0.75)
    assert found["saving"]["low"] == found["saving"]["high"] == found["saving"]["estimate"]
    assert found["tornado"] == [], "nothing may be otherwise"
    assert found["basis"] == "modelled"


def test_the_range_holds_every_case_and_reaches_its_ends():
    found = model(RANGES)
    low, high = found["saving"]["low"], found["saving"]["high"]
    dice = np.random.default_rng(5)
    ranges = {
        "contained_base": (0.24, 0.37),
        "contained_tuned": (0.74, 0.85),
        "minutes_per_contact": (5, 9),
        "hourly_wage": (20, 20),
        "review_share": (0.05, 0.4),
        "minutes_per_review": (3, 3),
        "inference_cost": (0.01, 0.1),
    }
    drawn = [saving({name: dice.uniform(*ends) for name, ends in ranges.items()}) for _ in range(3000)]
    assert low <= min(drawn) and max(drawn) <= high
    worst = {name: ends[0] for name, ends in ranges.items()}
    worst |= {"contained_base": 0.37, "review_share": 0.4, "inference_cost": 0.1}
    # 5 min by hand are 1.667, a review is 0.4.
    assert low == pytest.approx(1 - (0.26 * 5 / 3 + 0.74 * 0.4 + 0.1) / (0.63 * 5 / 3 + 0.37 * 0.4 + 0.1))
    assert low == pytest.approx(saving(worst))
    assert found["saving"]["estimate"] == pytest.approx(1 - 0.5 / 1.45)
    assert model(RANGES) == found, "the same every time"


def test_the_number_of_contacts_moves_the_month_and_not_the_saving():
    wide = model(TYPED | {"contacts": [1000, 10_000, 50_000]})
    assert wide["saving"] == model()["saving"]
    assert wide["per_month"]["base"]["low"] < 2000 and wide["per_month"]["base"]["high"] > 70_000
    assert "contacts" not in {row["input"] for row in wide["tornado"]}


def test_the_tornado_moves_one_input_at_a_time_and_is_sorted():
    rows = model(RANGES)["tornado"]
    assert {row["input"] for row in rows} == {
        "contained_base", "contained_tuned", "minutes_per_contact", "review_share", "inference_cost",
    }  # fmt: skip
    assert all(above["swing"] >= below["swing"] for above, below in pairwise(rows))
    by_input = {row["input"]: row for row in rows}
    tuned = by_input["contained_tuned"]
    assert tuned["measured"] and not by_input["review_share"]["measured"]
    assert tuned["at_low"] == pytest.approx(1 - (0.26 * 2 + 0.74 * 0.1 + 0.02) / 1.45)
    assert tuned["at_high"] == pytest.approx(1 - (0.15 * 2 + 0.85 * 0.1 + 0.02) / 1.45)
    review = by_input["review_share"]
    assert review["at_high"] == pytest.approx(1 - (0.4 + 0.8 * 0.4 + 0.02) / (1.4 + 0.3 * 0.4 + 0.02))
    assert review["swing"] == pytest.approx(review["at_low"] - review["at_high"])
    assert [round(row["swing"], 2) for row in rows[:3]] == [0.16, 0.14, 0.06]
    assert [row["input"] for row in rows[:3]] == ["review_share", "contained_tuned", "contained_base"]


def test_it_is_plain_json():
    found = model(RANGES)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(
    ("at_least", "status", "said"),
    [
        (0.4, "supported", "the whole range reaches it"),
        (0.6, "not supported", "the range includes it but also lower figures"),
        (0.9, "not supported", "the whole range lies below it"),
    ],
)
def test_a_claim_is_answered_by_the_whole_range(at_least, status, said):
    claim = CLAIM.model_copy(update={"at_least": at_least})
    typed = TYPED | {"minutes_per_contact": [5, 6, 9]}
    (found,) = judge_claims(scores(), [claim], model(typed))
    assert (found.status, found.basis) == (status, "modelled") and said in found.why
    assert "modelled and not measured" in found.why
    for assumption in (
        "30.0% (24.0% to 37.0%) (base)",
        "80.0% (74.0% to 85.0%) (tuned)",
        "200 synthetic prompts",
        "10,000 contacts a month",
        "6 (5 to 9) minutes each",
        "20 EUR an hour",
        "10% of contained contacts reviewed",
        "0.02 EUR a contact",
    ):
        assert assumption in found.why


def test_without_assumptions_the_claim_stays_open_and_says_what_to_type():
    (found,) = judge_claims(scores(), [CLAIM], None)
    assert (found.status, found.found) == ("not testable", None) and "`labour`" in found.why


def test_a_broken_base_or_too_few_prompts_leave_the_claim_open():
    broken = scores()
    broken["validity"]["greedy"]["base"]["invalid"] = 150
    assert judge_claims(broken, [CLAIM], model())[0].status == "not testable"
    demanding = CLAIM.model_copy(update={"min_n": 500})
    (found,) = judge_claims(scores(), [demanding], model())
    assert found.status == "not testable" and "500 groups" in found.why


def test_a_contained_share_that_is_none_is_refused_or_told():
    with pytest.raises(ConfigError, match="no such share"):
        model(higher_is_better=False)
    with pytest.raises(ConfigError, match="unknown metric"):
        model(TYPED | {"contained": "slot_accuracy"})
    lost = scores() | {"metrics": [], "unscored": [{"name": "resolution_rate", "decoding": "greedy"}]}
    found = model_labour(lost, Labour.model_validate(TYPED))
    assert found["saving"] is None and "no prompt" in found["why"]
    (claim,) = judge_claims(lost, [CLAIM], found)
    assert claim.status == "not testable" and "no prompt" in claim.why


def test_a_base_that_may_cost_nothing_has_no_share_to_save():
    free = TYPED | {"review_share": 0, "inference_cost": 0}
    found = model(free, base=(0.99, 0.97, 1.0))
    assert found["saving"] is None and "nothing" in found["why"]


def test_nothing_typed_is_no_model():
    assert model_labour(scores(), None) is None
