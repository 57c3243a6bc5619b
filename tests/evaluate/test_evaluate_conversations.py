"""A conversation violates where any of its answers does: counted by group, by hand and through a gate."""

import pytest
from gate_samples import interval, judge, make_scores, metric

from kit.config.errors import ConfigError
from kit.config.gates import Claim, Gate
from kit.evaluate.claims import judge_claims
from kit.evaluate.compare import Settings
from kit.evaluate.conversations import by_group
from kit.evaluate.metrics import LoadedMetric, MetricResult
from kit.evaluate.prompts import Prompt
from kit.evaluate.scores import compare_metric

SETTINGS = Settings(0.95, 500, 0)
# Four conversations of three turns; base breaks a rule in three of them, tuned in one.
GROUPS = [name for name in "abcd" for _ in range(3)]
BASE = [0.0, 1, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0]
TUNED = [0.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]


def test_one_bad_turn_makes_a_bad_conversation():
    found = by_group(BASE, TUNED, GROUPS, higher_is_better=False, settings=SETTINGS)
    assert (found["n"], found["groups"]) == (4, 4)
    assert (found["base"]["estimate"], found["tuned"]["estimate"]) == (0.75, 0.25)
    assert found["reduction"]["estimate"] == pytest.approx(2 / 3)
    assert found["base"]["method"] == "Wilson"


def test_of_a_virtue_every_turn_must_have_it():
    good = [1 - item for item in BASE]
    found = by_group(good, good, GROUPS, higher_is_better=True, settings=SETTINGS)
    assert found["base"]["estimate"] == 0.25


def test_turns_without_a_score_say_nothing_and_lone_prompts_have_no_figure_of_their_own():
    base = [None, None, None, *BASE[3:]]
    found = by_group(base, TUNED, GROUPS, higher_is_better=False, settings=SETTINGS)
    assert (found["n"], found["base"]["estimate"]) == (3, pytest.approx(2 / 3))
    lone = [str(place) for place in range(12)]
    assert by_group(BASE, TUNED, lone, higher_is_better=False, settings=SETTINGS) is None


def test_the_scores_of_a_rate_hold_both_units():
    loaded = LoadedMetric("m", "M", "safety", higher_is_better=False, kind="rate", invalid_item=1.0)
    prompts = [Prompt(str(n), [], {}, {}, group, "s") for n, group in enumerate(GROUPS)]
    results = [MetricResult(list(items), [[] for _ in items]) for items in (BASE, TUNED)]
    entry = compare_metric(loaded, *results, prompts, SETTINGS)
    assert entry["n"] == 12 and entry["by_group"]["n"] == 4
    assert entry["base"]["estimate"] == pytest.approx(5 / 12)


def test_a_gate_and_a_claim_may_count_conversations():
    by = {
        "n": 50,
        "groups": 50,
        "tuned": interval(0.12, 0.06, 0.24),
        "reduction": interval(0.7, 0.5, 0.8, at_least=False),
        "difference": interval(-0.3, -0.4, -0.2, p_value=0.001),
    }
    scores = make_scores()
    scores["metrics"][0] = metric("violation_rate", interval(0.05, 0.03, 0.09), by_group=by)
    assert judge(scores, at_most=0.1).status == "passed"
    found = judge(scores, at_most=0.1, per="group")
    assert (found.status, found.found, found.n, found.wanted) == (
        "failed",
        0.12,
        50,
        "at most 0.1, by group",
    )
    claim = {"name": "c", "metric": "violation_rate", "of": "reduction", "at_least": 0.82}
    (one,) = judge_claims(scores, [Claim(**claim)])
    (other,) = judge_claims(scores, [Claim(**claim, per="group", unit="conversation")])
    assert (one.status, other.status) == ("supported", "not supported")
    assert "50 synthetic conversations" in other.why


def test_where_no_prompts_share_a_group_the_prompts_figures_hold():
    scores = make_scores()
    scores["metrics"][0]["by_group"] = None
    assert judge(scores, at_most=0.05, per="group").found == 0.05


def test_what_has_no_figure_by_group_is_refused():
    with pytest.raises(ConfigError, match="no figure by group"):
        judge(make_scores(), metric="response_time", at_most=2, per="group")
    with pytest.raises(ValueError, match="no slices"):
        Gate(name="g", metric="m", at_most=1, per="group", worst="topic")
    with pytest.raises(ValueError, match="leave `per` out"):
        Gate(name="g", metric="m", zero_tolerance="critical", per="group")
