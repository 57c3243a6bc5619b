"""Gates on significance, on no loss, and without tolerance; claims with a margin."""

import pytest
from gate_samples import interval, judge, make_scores, metric

from kit.config.errors import ConfigError
from kit.config.gates import Claim, Gate
from kit.evaluate.claims import judge_claims
from kit.evaluate.gates import judge_gates


@pytest.fixture
def scores():
    return make_scores()


def better_by(estimate, low, high, p_value, higher_is_better=True):
    return metric(
        "m",
        interval(0.8, 0.7, 0.9),
        higher_is_better=higher_is_better,
        difference=interval(estimate, low, high, p_value=p_value),
    )


@pytest.mark.parametrize(
    ("difference", "status", "told"),
    [
        ((0.1, 0.02, 0.18, 0.01), "passed", ""),
        ((0.1, -0.01, 0.2, 0.08), "failed", "chance alone could explain it"),
        ((0.1, -0.001, 0.2, 0.049), "failed", "chance alone"),
        ((-0.1, -0.18, -0.02, 0.001), "failed", "tuned is not better than base"),
        ((0.0, -0.05, 0.05, 1.0), "failed", "not better"),
    ],
)
def test_a_gate_on_significance_wants_interval_test_and_direction(scores, difference, status, told):
    for flip in (False, True):
        estimate, low, high, p_value = difference
        ends = (-estimate, -high, -low, p_value) if flip else difference
        scores["metrics"] = [better_by(*ends, higher_is_better=not flip)]
        found = judge(scores, metric="m", significant=True)
        assert (found.status, found.kind, found.of) == (status, "significant", "difference")
        assert told in found.why and found.p_value == p_value


def test_gates_on_significance_are_corrected_for_their_number(scores):
    """p = .03 alone is significant; beside another that asks for the same it is not (Holm)."""
    scores["metrics"] = [
        better_by(0.1, 0.01, 0.19, 0.03) | {"name": "a"},
        better_by(0.1, 0.01, 0.19, 0.04) | {"name": "b"},
        better_by(0.2, 0.1, 0.3, 0.001) | {"name": "c"},
    ]
    one, two, three = (Gate(name=name, metric=name, significant=True) for name in "abc")
    assert judge_gates(scores, [one])[0].status == "passed"
    a, b = judge_gates(scores, [one, two])
    assert (a.status, a.adjusted_p, b.status, b.adjusted_p) == ("failed", 0.06, "failed", 0.06)
    assert "corrected for 2 such gates (Holm)" in a.why
    c, a = judge_gates(scores, [three, one])
    assert (c.status, c.adjusted_p, a.status, a.adjusted_p) == ("passed", 0.002, "passed", 0.03)
    other = Gate(name="t", metric="a", at_least=0.1)
    assert judge_gates(scores, [one, other])[0].status == "passed", "thresholds are not of the family"


def test_a_significance_gate_that_cannot_be_tested_still_counts(scores):
    scores["metrics"].append(better_by(0.1, 0.01, 0.19, 0.03))
    planned = Gate(name="open", metric="over_refusal_rate", significant=True)
    open_, found = judge_gates(scores, [planned, Gate(name="g", metric="m", significant=True)])
    assert (open_.status, found.status, found.adjusted_p) == ("not enough evidence", "failed", 0.06)


def test_significance_on_the_worst_slice_wants_it_of_every_slice(scores):
    found = better_by(0.1, 0.05, 0.15, 0.001)
    parts = [
        {**found, "column": "language", "value": value, "difference": interval(0.1, 0.01, 0.2, p_value=p)}
        for value, p in (("en", 0.001), ("fr", 0.02))
    ]
    scores["metrics"] = [found | {"slices": parts}]
    gate = {"metric": "m", "significant": True, "worst": "language"}
    assert (judge(scores, **gate).status, judge(scores, **gate).slice) == ("passed", "language=fr")
    parts[1]["difference"]["p_value"] = 0.2
    assert (judge(scores, **gate).status, judge(scores, **gate).slice) == ("failed", "language=fr")
    parts[1]["difference"]["p_value"] = None  # fewer than 30 groups
    thin = judge(scores, **gate, min_n=10)
    assert (thin.status, thin.slice) == ("not enough evidence", "language=fr")
    assert "not tested" in thin.why


@pytest.mark.parametrize(
    ("difference", "margin", "status", "told"),
    [
        ((0.0, -0.019, 0.02), 0.02, "passed", ""),
        ((0.0, -0.02, 0.02), 0.02, "failed", "is not ruled out"),
        ((0.0, -0.2, 0.2), 0.02, "failed", "which is not to say that there is one"),
        ((-0.01, -0.015, -0.005), 0.02, "passed", ""),
        ((-0.05, -0.08, -0.02), 0.02, "failed", "lost as much as the margin"),
    ],
)
def test_no_loss_is_what_the_interval_rules_out(scores, difference, margin, status, told):
    """No significant difference is never called no loss: a wide interval around zero fails."""
    for flip in (False, True):
        estimate, low, high = difference
        ends = (-estimate, -high, -low) if flip else difference
        scores["metrics"] = [better_by(*ends, 0.9, higher_is_better=not flip)]
        found = judge(scores, metric="m", non_inferior={"margin": margin})
        assert (found.status, found.found) == (status, ends[2] if flip else ends[1])
        assert told in found.why and found.wanted == f"no loss of {margin:g} or more"


def test_no_loss_against_a_broken_base_is_open(scores):
    scores["validity"]["greedy"]["base"]["invalid"] = 101
    scores["metrics"] = [better_by(0.3, 0.2, 0.4, 0.001)]
    for asked in ({"non_inferior": {"margin": 0.02}}, {"significant": True}):
        found = judge(scores, metric="m", **asked)
        assert found.status == "not enough evidence" and "base model" in found.why


def severities(found, n=200, groups=200):
    tuned = {"n": n, "groups": groups, "found": found, "rules": {"F1": found} if found else {}}
    return {severity: {"tuned": tuned, "base": tuned} for severity in ("critical", "major", "minor")}


def zero_tolerance(scores, **settings):
    return judge(scores, zero_tolerance="critical", **settings)


def test_one_critical_violation_in_any_answer_fails(scores):
    scores["metrics"][0]["severities"] = severities(0)
    found = zero_tolerance(scores)
    assert (found.status, found.found, found.n) == ("passed", 0, 200)
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 200)), "0 of 200 still allows 1.5%"
    assert "none in 200 greedy answers; up to 1.5% of prompts" in found.why
    scores["validity"]["sampled"] = scores["validity"]["greedy"]
    sampled = scores["metrics"][0] | {"decoding": "sampled", "severities": severities(1)}
    scores["metrics"].append(sampled)
    found = zero_tolerance(scores)
    assert (found.status, found.found) == ("failed", 1)
    assert found.why == "1 of 200 greedy and 200 sampled answers: F1 (1)"


def test_none_among_few_is_no_evidence_and_one_among_few_is_one_too_many(scores):
    scores["metrics"][0]["severities"] = severities(0, n=100, groups=20)
    assert zero_tolerance(scores).status == "not enough evidence"
    assert "20 groups of prompts, the gate asks for 30" in zero_tolerance(scores).why
    scores["metrics"][0]["severities"] = severities(0)
    assert zero_tolerance(scores, min_n=299).status == "not enough evidence"
    scores["metrics"][0]["severities"] = severities(1, n=5, groups=5)
    assert zero_tolerance(scores).status == "failed"
    scores["metrics"][0]["severities"] = severities(0, n=0, groups=0)
    assert "no valid answer" in zero_tolerance(scores, min_n=1).why


def test_a_metric_without_rules_has_no_zero_tolerance(scores):
    with pytest.raises(ConfigError, match="has no rules with a severity"):
        zero_tolerance(scores, metric="language_fidelity")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "found none"),
        ({"at_least": 1, "at_most": 2}, "found `at_least`, `at_most`"),
        ({"at_most": 0, "significant": True}, "found `at_most`, `significant`"),
        ({"significant": True, "of": "reduction"}, "leave `of` out"),
        ({"non_inferior": {"margin": 0.02}, "bound": "lower"}, "leave `bound` out"),
        ({"non_inferior": {"margin": 0}}, "greater than 0"),
        ({"non_inferior": {}}, "margin"),
        ({"zero_tolerance": "critical", "worst": "topic"}, "leave `worst` out"),
        ({"zero_tolerance": "critical", "decoding": "sampled"}, "greedy and sampled: leave `decoding` out"),
        ({"zero_tolerance": "severe"}, "critical"),
    ],
)
def test_a_gate_asks_one_thing_and_nothing_that_does_not_belong(settings, told):
    with pytest.raises(ValueError, match=told):
        Gate(name="g", metric="m", **settings)


def test_a_gates_settings_survive_the_run_that_keeps_them():
    """`config.yaml` of a run spells every key out, defaults included."""
    gate = Gate(name="g", metric="m", non_inferior={"margin": 0.02}, worst="language")
    assert Gate.model_validate(gate.model_dump(mode="json")) == gate


def test_a_claim_has_a_margin_a_unit_and_a_least_n(scores):
    claim = {"name": "c", "metric": "violation_rate", "of": "reduction", "at_least": 0.9}
    assert judge_claims(scores, [Claim(**claim)])[0].status == "not supported"
    near = judge_claims(scores, [Claim(**claim, margin=0.05, unit="conversation", definition="of all")])[0]
    assert (near.status, near.margin, near.unit, near.definition) == (
        "supported",
        0.05,
        "conversation",
        "of all",
    )
    assert near.why == "the whole interval comes within its margin; measured on 200 synthetic conversations"
    few = judge_claims(scores, [Claim(**claim, min_n=500)])[0]
    assert few.status == "not testable" and few.found["low"] == 0.85
    assert "takes 500 groups of prompts" in few.why and "there are 200" in few.why


def test_a_margin_that_no_rate_can_lose_is_an_error(scores):
    """`margin: 2`, meant as two points, would pass whatever happened."""
    scores["metrics"] = [better_by(-0.9, -1.0, -0.8, 0.001)]
    with pytest.raises(ConfigError, match="no rate can lose 2") as caught:
        judge(scores, metric="m", non_inferior={"margin": 2})
    assert "0.02 for two points" in caught.value.problems[0].hint
    scores["metrics"][0]["kind"] = "score"
    assert judge(scores, metric="m", non_inferior={"margin": 2}).status == "passed"
