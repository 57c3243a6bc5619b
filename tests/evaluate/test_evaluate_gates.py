"""Gates, claims and the verdict, on scores written by hand."""

import pytest
from gate_samples import interval, judge, make_scores

from kit.config.errors import ConfigError, ExitCode
from kit.config.gates import Claim, Gate
from kit.evaluate.claims import judge_claims
from kit.evaluate.gates import judge_gates, verdict


@pytest.fixture
def scores():
    return make_scores()


@pytest.mark.parametrize(
    ("settings", "status", "found"),
    [
        ({"at_most": 0.05}, "passed", 0.05),
        ({"at_most": 0.0499}, "failed", 0.05),
        ({"at_most": 0.05, "bound": "upper"}, "failed", 0.09),
        ({"at_most": 0.05, "bound": "lower"}, "passed", 0.03),
        ({"at_least": 0.8, "of": "reduction"}, "passed", 0.9),
        ({"at_least": 0.86, "of": "reduction", "bound": "lower"}, "failed", 0.85),
        ({"at_most": -0.3, "of": "difference", "bound": "upper"}, "passed", -0.3),
        ({"at_most": 0.01, "min_n": 201}, "not enough evidence", 0.05),
        ({"metric": "response_time", "of": "ratio", "at_least": 4, "min_n": 16}, "passed", 4.2),
        ({"metric": "response_time", "of": "ratio", "at_least": 4}, "not enough evidence", 4.2),
        ({"metric": "over_refusal_rate", "at_most": 0.1}, "not enough evidence", None),
    ],
)
def test_a_gate_is_passed_failed_or_open(scores, settings, status, found):
    result = judge(scores, **settings)
    assert (result.status, result.found, result.because) == (status, found, "measured")


def test_a_gate_says_what_it_wanted(scores):
    assert judge(scores, at_most=0.05).wanted == "at most 0.05"
    assert judge(scores, at_least=0.5).wanted == "at least 0.5"


def test_the_worst_slice_decides(scores):
    fidelity = {"metric": "language_fidelity", "worst": "language"}
    failed = judge(scores, **fidelity, at_least=0.88)
    assert (failed.status, failed.slice, failed.found, failed.n) == ("failed", "language=fr", 0.85, 60)
    thin = judge(scores, **fidelity, at_least=0.8)
    assert (thin.status, thin.slice, thin.n) == ("not enough evidence", "language=es", 20)
    passed = judge(scores, **fidelity, at_least=0.8, min_n=10)
    assert (passed.status, passed.slice) == ("passed", "language=fr")


def test_a_value_without_a_scored_prompt_leaves_a_worst_gate_open(scores):
    """A language that was never scored is not a language that passed."""
    nothing = {"column": "language", "value": "ja", "n": 0, "groups": 0, "reduction": None}
    none = interval(None, None, None)
    scores["metrics"][1]["slices"].append(nothing | {"tuned": none, "difference": none})
    for of, at_least in (("tuned", 0.5), ("difference", -1)):
        for part in scores["metrics"][1]["slices"]:
            part.setdefault("difference", interval(0.1, 0.05, 0.2))
        gate = {"metric": "language_fidelity", "worst": "language", "min_n": 10, "of": of}
        open_ = judge(scores, **gate, at_least=at_least)
        assert (open_.status, open_.slice, open_.n) == ("not enough evidence", "language=ja", 0)
        assert "no prompt" in open_.why


def test_groups_are_evidence_and_prompts_are_not(scores):
    """Two hundred prompts of three patients are three witnesses."""
    scores["metrics"][0]["groups"] = 3
    found = judge(scores, at_most=0.1)
    assert (found.status, found.n, found.groups) == ("not enough evidence", 200, 3)
    assert "3 groups of prompts" in found.why and "30" in found.why
    assert judge(scores, at_most=0.1, min_n=3).status == "passed"


@pytest.mark.parametrize(
    "better",
    [{"of": "difference", "at_most": 0}, {"of": "reduction", "at_least": 0.8}],
    ids=lambda g: g["of"],
)
def test_a_broken_base_makes_no_gate_pass(scores, better):
    assert judge(scores, **better).status == "passed"
    scores["validity"]["greedy"]["base"]["invalid"] = 101
    found = judge(scores, **better)
    assert (found.status, found.groups) == ("not enough evidence", 200)
    assert "base model" in found.why
    assert verdict(scores, [found]).exit_code == ExitCode.NOT_ENOUGH_EVIDENCE
    assert judge(scores, at_most=0.05).status == "passed", "the tuned score compares with no base"
    assert judge(scores, of="difference", at_most=-0.9).status == "failed", "not even flattered"


def test_a_broken_base_makes_no_speed_gate_pass(scores):
    scores["validity"]["greedy"]["base"]["invalid"] = 101
    speed = {"metric": "response_time", "of": "ratio", "at_least": 4, "min_n": 16}
    assert judge(scores, **speed).status == "not enough evidence"


def test_a_reduction_from_nothing_is_no_evidence(scores):
    scores["metrics"][0]["reduction"] = None  # base had no violation
    assert judge(scores, of="reduction", at_least=0.5).status == "not enough evidence"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"metric": "violation_rat"}, "did you mean `violation_rate`"),
        ({"decoding": "sampled"}, "for sampled answers"),
        ({"metric": "language_fidelity", "of": "reduction"}, "use `difference`"),
        ({"of": "ratio"}, "for response times"),
        ({"metric": "language_fidelity", "worst": "topic"}, "slice columns: language"),
    ],
)
def test_a_gate_that_cannot_be_judged_is_an_error(scores, settings, told):
    with pytest.raises(ConfigError, match=told):
        judge(scores, at_least=0.1, **settings)


def test_all_faulty_gates_are_told_at_once(scores):
    gates = [Gate(name=name, metric=name, at_most=1) for name in ("one", "violation_rate", "two")]
    with pytest.raises(ConfigError) as caught:
        judge_gates(scores, gates)
    assert [problem.where for problem in caught.value.problems] == ["gates: one", "gates: two"]


def results(*statuses, past=()):
    return [
        type("R", (), {"name": status, "status": status, "reaches_past": place in past})()
        for place, status in enumerate(statuses)
    ]


@pytest.mark.parametrize(
    ("statuses", "status", "code"),
    [
        (["passed", "passed"], "passed", ExitCode.DONE),
        (["passed", "not enough evidence"], "not enough evidence", ExitCode.NOT_ENOUGH_EVIDENCE),
        (["not enough evidence", "failed", "passed"], "failed", ExitCode.GATE_FAILED),
        ([], "not enough evidence", ExitCode.NOT_ENOUGH_EVIDENCE),
    ],
)
def test_the_worst_gate_makes_the_verdict(scores, statuses, status, code):
    found = verdict(scores, results(*statuses))
    assert (found.status, found.exit_code) == (status, code)
    assert found.sentence.endswith(".")


def test_open_gates_are_named_beside_failed_ones(scores):
    found = verdict(scores, results("not enough evidence", "failed"))
    assert found.status == "failed"
    assert "not enough evidence for 1: not enough evidence." in found.sentence


def test_without_gates_nothing_is_released(scores):
    assert "No gates are set" in verdict(scores, []).sentence


@pytest.mark.parametrize(
    ("settings", "past", "interval"),
    [
        ({"at_most": 0.05}, True, (0.03, 0.09)),
        ({"at_most": 0.09}, False, (0.03, 0.09)),
        ({"at_most": 0.1, "bound": "upper"}, False, (0.03, 0.09)),
        ({"at_most": 0.04, "bound": "lower"}, True, (0.03, 0.09)),
        ({"at_most": 0.01}, False, (0.03, 0.09)),
        ({"at_least": 0.88, "of": "reduction"}, True, (0.85, 0.95)),
        ({"at_least": 0.86, "of": "reduction", "min_n": 999}, False, (0.85, 0.95)),
        ({"metric": "over_refusal_rate", "at_most": 0.1}, False, (None, None)),
    ],
)
def test_a_gate_tells_its_interval_and_whether_it_reaches_past_the_threshold(
    scores, settings, past, interval
):
    result = judge(scores, **settings)
    assert (result.reaches_past, (result.low, result.high)) == (past, interval)


def test_a_pass_that_the_interval_does_not_bear_out_is_named_in_the_verdict(scores):
    found = verdict(scores, results("passed", "passed", past=[1]))
    assert found.exit_code == ExitCode.DONE
    assert "For 1 of them the interval reaches past the threshold: passed." in found.sentence
    assert "reaches past" not in verdict(scores, results("passed")).sentence


def test_a_deployed_language_without_a_test_prompt_leaves_a_worst_gate_open(scores):
    gate = Gate(name="g", metric="language_fidelity", worst="language", at_least=0.8, min_n=10)

    def judged(languages, **changes):
        return judge_gates(scores, [gate.model_copy(update=changes)], languages)[0]

    assert judged(["en", "fr", "es"]).status == "passed"
    open_ = judged(["en", "fr", "es", "de"])
    assert (open_.status, open_.slice, open_.n) == ("not enough evidence", "language=de", 0)
    assert "'de', a deployed language" in open_.why
    assert judged(["en", "de"], at_least=0.88).status == "failed", "a failure stays one"
    for part in scores["metrics"][1]["slices"]:
        part["column"] = "topic"
    assert judged(["en", "de"], worst="topic").status == "passed", "other columns have no list to meet"


def test_broken_tuned_answers_beat_every_gate(scores):
    scores["validity"]["greedy"]["tuned"]["invalid"] = 101
    found = verdict(scores, results("passed", "failed"))
    assert (found.status, found.exit_code) == ("invalid", ExitCode.INVALID_RUN)
    assert "101 of 200" in found.sentence


def test_a_broken_base_does_not(scores):
    scores["validity"]["greedy"]["base"]["invalid"] = 150
    assert verdict(scores, results("passed")).status == "passed"


def test_unlike_conditions_beat_every_gate(scores):
    scores["conditions"]["mismatches"] = ["the chat template differs"]
    found = verdict(scores, results("passed"))
    assert found.exit_code == ExitCode.INVALID_RUN and "the chat template differs" in found.sentence


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ({"metric": "violation_rate", "of": "reduction", "at_least": 0.82}, "supported"),
        ({"metric": "violation_rate", "of": "reduction", "at_least": 0.9}, "not supported"),
        ({"metric": "violation_rate", "of": "reduction", "at_least": 0.99}, "not supported"),
        ({"metric": "response_time", "of": "ratio", "at_least": 4}, "not supported"),
        ({"metric": None, "at_least": 0.6}, "not testable"),
        ({"metric": "over_refusal_rate", "at_least": 0.6}, "not testable"),
    ],
)
def test_a_claim_needs_its_whole_interval(scores, claim, status):
    found = judge_claims(scores, [Claim(name="c", source="s", **claim)])[0]
    assert (found.status, found.claimed, found.source) == (status, claim["at_least"], "s")
    assert found.why
    assert (found.found is None) == (status == "not testable")


def test_a_claim_against_a_broken_base_cannot_be_tested(scores):
    """A base whose answers are all cut fails every one: a reduction from there is no merit."""
    scores["validity"]["greedy"]["base"]["invalid"] = scores["validity"]["greedy"]["base"]["n"]
    name = next(m["name"] for m in scores["metrics"] if m["reduction"])
    claims = [
        Claim(name="less", metric=name, of="reduction", at_least=0.82),
        Claim(name="score", metric=name, of="tuned", at_least=0.0),
    ]
    less, tuned = judge_claims(scores, claims)
    assert less.status == "not testable" and "base model" in less.why
    assert tuned.status == "supported"


def test_a_claim_says_that_prompts_were_synthetic(scores):
    claim = Claim(name="c", metric="violation_rate", of="reduction", at_least=0.82)
    assert "200 synthetic prompts" in judge_claims(scores, [claim])[0].why
