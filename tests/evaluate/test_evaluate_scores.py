"""The evaluator itself, on answers whose verdict is known beforehand."""

import json
from dataclasses import replace

import pytest
from scores_samples import (
    BAD,
    GOOD,
    REFUSAL,
    config,
    entry,
    make_prompts,
    often_bad,
    predict,
    rarely_bad,
    scored,
    timed,
    use_of,
)

from kit.config.errors import ConfigError
from kit.config.gates import Gate
from kit.evaluate.gates import judge_gates, verdict
from kit.evaluate.prompts import Prompt
from kit.hooks import Hooks, Metric

__all__ = ["config"]  # a fixture


def test_a_better_tuned_model_is_shown_as_such_and_passes(config):
    prompts = make_prompts(120)
    scores = scored(config, prompts, predict(prompts, often_bad, rarely_bad))
    violations = entry(scores, "violation_rate")
    assert violations["verdict"] == "improved" and violations["n"] == 120
    assert violations["base"]["estimate"] == 0.5
    assert violations["difference"]["estimate"] == pytest.approx(-59 / 120)
    assert violations["difference"]["high"] < 0 and violations["difference"]["p_value"] < 1e-10
    assert violations["reduction"]["estimate"] == pytest.approx(1 - 1 / 60)
    assert violations["details"] == {"base": {"F1": 60}, "tuned": {"F1": 1}}
    assert entry(scores, "disclosure_rate")["verdict"] == "improved"
    assert entry(scores, "token_f1")["verdict"] == "improved"
    assert verdict(scores, judge_gates(scores, config.gates)).exit_code == 0


def test_swapped_systems_mirror(config):
    prompts = make_prompts(90)
    one = scored(config, prompts, predict(prompts, often_bad, rarely_bad))
    other = scored(config, prompts, predict(prompts, rarely_bad, often_bad))
    for name in ("violation_rate", "disclosure_rate", "token_f1"):
        ours, theirs = entry(one, name), entry(other, name)
        assert (ours["verdict"], theirs["verdict"]) == ("improved", "worse")
        assert ours["base"] == theirs["tuned"] and ours["tuned"] == theirs["base"]
        assert ours["difference"]["estimate"] == pytest.approx(-theirs["difference"]["estimate"])
        assert ours["difference"]["low"] == pytest.approx(-theirs["difference"]["high"])
        assert ours["difference"]["high"] == pytest.approx(-theirs["difference"]["low"])
        assert ours["difference"]["p_value"] == pytest.approx(theirs["difference"]["p_value"])


@pytest.mark.parametrize("answer", [often_bad, lambda n: GOOD, lambda n: BAD, lambda n: ""])
def test_identical_systems_show_nothing(config, answer):
    prompts = make_prompts(60)
    scores = scored(config, prompts, predict(prompts, answer, answer))
    assert len(scores["metrics"]) == 4
    for found in scores["metrics"]:
        assert found["verdict"] == "not shown"
        assert found["difference"]["p_value"] == 1.0
        assert found["difference"]["estimate"] == 0


def test_a_constant_refuser_fails(config):
    prompts = make_prompts(80)
    scores = scored(config, prompts, predict(prompts, often_bad, lambda n: REFUSAL))
    assert entry(scores, "violation_rate")["verdict"] == "improved"  # it breaks no rule...
    assert entry(scores, "over_refusal_rate")["verdict"] == "worse"  # ...and helps nobody
    assert entry(scores, "disclosure_rate")["verdict"] == "worse"
    assert verdict(scores, judge_gates(scores, config.gates)).status == "failed"


@pytest.mark.parametrize("output", ["", "the fund " * 30])
def test_gibberish_is_invalid_and_never_safe(config, output):
    prompts = make_prompts(80)
    scores = scored(config, prompts, predict(prompts, often_bad, lambda n: output))
    assert scores["validity"]["greedy"]["tuned"]["invalid"] == 80
    assert entry(scores, "violation_rate")["tuned"]["estimate"] == 1.0
    assert entry(scores, "violation_rate")["verdict"] == "worse"
    found = verdict(scores, judge_gates(scores, config.gates))
    assert (found.status, found.exit_code) == ("invalid", 4)


def test_cut_answers_are_counted_with_their_reason(config):
    prompts = make_prompts(40)
    scores = scored(config, prompts, predict(prompts, rarely_bad, rarely_bad, finished=False))
    assert scores["validity"]["greedy"]["base"] == {"n": 40, "invalid": 40, "reasons": {"cut": 40}}
    said = entry(scores, "violation_rate")["details"]["tuned"]
    assert said.pop("invalid answer (cut)") == 40 and said == {"F1": 1}, (
        "what a cut answer has said stays said"
    )


def test_the_order_of_the_predictions_changes_nothing(config):
    prompts = make_prompts(70, per_group=2)
    predictions = predict(prompts, often_bad, rarely_bad)
    shuffled = dict(sorted(predictions.items(), key=lambda pair: hash(pair[0])))
    assert scored(config, prompts, predictions) == scored(config, prompts, shuffled)


def test_prompts_that_share_groups_widen_the_interval(config):
    alone, together = make_prompts(120), make_prompts(120, per_group=12)

    def blockwise(n):
        return BAD if (n // 12) % 2 else GOOD

    narrow = entry(scored(config, alone, predict(alone, blockwise, rarely_bad)), "violation_rate")
    wide = entry(scored(config, together, predict(together, blockwise, rarely_bad)), "violation_rate")
    assert wide["difference"]["estimate"] == narrow["difference"]["estimate"]
    assert wide["difference"]["low"] < narrow["difference"]["low"]
    assert wide["difference"]["high"] > narrow["difference"]["high"]
    assert wide["difference"]["p_value"] > narrow["difference"]["p_value"]
    assert "over groups" in wide["difference"]["method"]


def test_slices_below_thirty_prompts_are_shown_and_not_tested(config):
    prompts = make_prompts(100)
    scores = scored(config, prompts, predict(prompts, often_bad, rarely_bad))
    slices = {part["value"]: part for part in entry(scores, "violation_rate")["slices"]}
    assert (slices["en"]["n"], slices["fr"]["n"]) == (75, 25)
    assert slices["en"]["tested"] and slices["en"]["difference"]["p_value"] < 0.001
    assert not slices["fr"]["tested"] and slices["fr"]["difference"]["p_value"] is None
    assert slices["fr"]["verdict"] == "not shown"


def test_a_metric_that_applies_to_no_prompt_is_listed_apart(config):
    prompts = [Prompt(p.id, [], {"topic": "cards"}, {}, p.group, "a") for p in make_prompts(40)]
    scores = scored(config, prompts, predict(prompts, often_bad, rarely_bad))
    assert {lost["name"] for lost in scores["unscored"]} == {"disclosure_rate", "over_refusal_rate"}
    judged = judge_gates(scores, config.gates)
    assert [gate.status for gate in judged] == ["passed", "not enough evidence"]
    assert verdict(scores, judged).exit_code == 3


def test_only_prompts_that_both_systems_were_scored_on_are_compared(config):
    def partly(predictions, references):
        return [None if "fall" in p else 1.0 for p in predictions]

    prompts = make_prompts(60)
    more = config.model_copy(
        update={"evaluate": config.evaluate.model_copy(update={"metrics": [use_of("partly")]})}
    )
    hooks = Hooks(metrics={"partly": Metric("Partly", partly)})
    scores = scored(more, prompts, predict(prompts, often_bad, lambda n: BAD), hooks=hooks)
    assert entry(scores, "partly")["n"] == 30
    assert entry(scores, "partly")["kind"] == "rate"


def score_words(config, metric, base, tuned, count=40):
    evaluate = config.evaluate.model_copy(update={"metrics": [use_of("words")]})
    prompts = make_prompts(count)
    more = config.model_copy(update={"evaluate": evaluate})
    return scored(more, prompts, predict(prompts, base, tuned), hooks=Hooks(metrics={"words": metric}))


def count_words(predictions, references):
    return [float(len(text.split())) for text in predictions]


def test_an_invalid_answer_scores_the_same_for_both_systems(config):
    """What base scores for nothing must not depend on what else base said."""
    metric = Metric("Words", count_words, higher_is_better=False, invalid_item=50.0)
    scores = score_words(
        config, metric, lambda n: "" if n == 0 else "a b", lambda n: "" if n == 0 else "a b c d e"
    )
    systems = scores["items"][0]["greedy"].values()
    assert [system["scores"]["words"] for system in systems] == [50.0, 50.0]
    assert [system["invalid"] for system in systems] == ["empty", "empty"]


def test_a_hook_whose_answers_are_worse_than_invalid_must_say_what_those_score(config):
    with pytest.raises(ConfigError, match="invalid_item"):
        score_words(config, Metric("Words", count_words, False), lambda n: "a b", lambda n: "a")


def test_an_invalid_answer_to_a_prompt_that_no_hook_speaks_of_stays_unscored(config):
    def every_other(predictions, references):
        return [1.0 if int(r["prompt"][1:]) % 2 else None for r in references]

    scores = score_words(config, Metric("Every other", every_other), lambda n: GOOD, lambda n: "")
    assert scores["metrics"][0]["n"] == 20
    found = [item["greedy"]["tuned"]["scores"]["words"] for item in scores["items"][:2]]
    assert found == [None, 0.0]


def test_a_slice_without_a_scored_prompt_is_listed_and_leaves_its_gate_open(config):
    prompts = [
        replace(p, expected={"topic": "cards"}) if p.slices["language"] == "fr" else p
        for p in make_prompts(200)
    ]
    scores = scored(config, prompts, predict(prompts, often_bad, lambda n: GOOD))
    slices = {part["value"]: part for part in entry(scores, "disclosure_rate")["slices"]}
    assert (slices["en"]["n"], slices["fr"]["n"], slices["fr"]["tested"]) == (150, 0, False)
    assert slices["fr"]["tuned"]["estimate"] is None
    gate = Gate(name="g", metric="disclosure_rate", worst="language", at_least=0.5)
    judged = judge_gates(scores, [gate])[0]
    assert (judged.status, judged.slice) == ("not enough evidence", "language=fr")


def test_a_slice_of_few_groups_is_not_tested_however_many_prompts(config):
    prompts = make_prompts(240, per_group=12)
    scores = scored(config, prompts, predict(prompts, often_bad, rarely_bad))
    assert scores["groups"] == 20
    assert scores["minimum_detectable_effect"] == pytest.approx(0.2)
    found = entry(scores, "violation_rate")
    assert (found["n"], found["groups"]) == (240, 20)
    assert [(part["n"], part["groups"], part["tested"]) for part in found["slices"]] == [
        (180, 20, False),
        (60, 20, False),
    ]
    assert judge_gates(scores, config.gates[:1])[0].status == "not enough evidence"


def test_a_shown_change_has_interval_and_test_behind_it(config):
    """Four of twenty answers change, all for the better: the interval leaves out zero, p is 6%."""
    prompts = make_prompts(20)
    found = entry(
        scored(
            config,
            prompts,
            predict(prompts, lambda n: BAD if n < 12 else GOOD, lambda n: BAD if n < 8 else GOOD),
        ),
        "violation_rate",
    )
    assert found["difference"]["high"] < 0 and found["difference"]["p_value"] > 0.05
    assert found["verdict"] == "not shown"


def test_items_carry_transcript_scores_and_reasons(config):
    prompts = make_prompts(40)
    scores = scored(config, prompts, predict(prompts, often_bad, rarely_bad))
    item = scores["items"][3]
    assert (item["id"], item["prompt"], item["answer"], item["slices"]) == (
        "0003",
        "Q3",
        GOOD,
        {"language": "en"},
    )
    assert item["greedy"]["base"]["output"] == BAD
    assert item["greedy"]["base"]["scores"]["violation_rate"] == 1
    assert item["greedy"]["base"]["details"]["violation_rate"] == ["F1"]
    assert item["greedy"]["tuned"]["scores"]["violation_rate"] == 0


def test_scores_are_plain_json(config):
    prompts = make_prompts(40)
    scores = scored(config, prompts, predict(prompts, often_bad, rarely_bad), timed(4.0))
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    keys = "schema evaluation run data kit_version synthetic model conditions prompts seeds validity"
    for key in [*keys.split(), "minimum_detectable_effect", "metrics", "latency", "items"]:
        assert key in scores
    assert scores["minimum_detectable_effect"] == pytest.approx(0.2, abs=0.01)
