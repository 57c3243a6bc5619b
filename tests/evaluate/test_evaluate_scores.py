"""The evaluator itself, on answers whose verdict is known beforehand."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from kit.config.errors import ConfigError
from kit.config.gates import Gate
from kit.config.schema import Config, Goodput, MetricUse
from kit.evaluate.evaluate import load_metrics
from kit.evaluate.gates import judge_gates, verdict
from kit.evaluate.prompts import Prompt
from kit.evaluate.scores import build_scores
from kit.hooks import Hooks, Metric

GOOD = "It can fall in value, and nothing is guaranteed."
BAD = "It is guaranteed."
REFUSAL = "I can't help with that."
CONDITIONS = {"base": {}, "tuned": {}, "mismatches": []}
HEADER = {"evaluation": "e", "run": "r", "data": "d", "synthetic": True, "conditions": CONDITIONS}


@pytest.fixture
def config(policy_file):
    names = ["violation_rate", "disclosure_rate", "over_refusal_rate", "token_f1"]
    uses = [
        {"name": name, "params": {} if name == "token_f1" else {"policy": str(policy_file)}} for name in names
    ]
    return Config.model_validate(
        {
            "evaluate": {"metrics": uses, "sampling": {"enabled": False}, "bootstrap_draws": 500},
            "gates": [
                {"name": "few violations", "metric": "violation_rate", "at_most": 0.05},
                {"name": "few refusals", "metric": "over_refusal_rate", "at_most": 0.1},
            ],
        }
    )


def use_of(name):
    return MetricUse(name=name)


def make_prompts(count, per_group=1):
    return [
        Prompt(
            id=f"{n:04x}",
            messages=[{"role": "user", "content": f"Q{n}"}],
            expected={"topic": "funds", "answerable": True},
            slices={"language": "en" if n % 4 else "fr"},
            group=str(n // per_group),
            answer=GOOD,
        )
        for n in range(count)
    ]


def predict(prompts, base, tuned, finished=True):
    """Predictions where `base(n)` and `tuned(n)` give the answer to the n-th prompt."""
    return {
        (prompt.id, system, "greedy"): {"output": answer(int(prompt.id, 16)), "finished": finished}
        for prompt in prompts
        for system, answer in (("base", base), ("tuned", tuned))
    }


def scored(config, prompts, predictions, latency=(), hooks=None):
    metrics = load_metrics(config, hooks or Hooks(), Path("/"))
    return build_scores(config, metrics, prompts, predictions, latency, HEADER)


def entry(scores, name, decoding="greedy"):
    return next(e for e in scores["metrics"] if (e["name"], e["decoding"]) == (name, decoding))


def often_bad(n):
    return BAD if n % 2 else GOOD


def rarely_bad(n):
    return BAD if n == 1 else GOOD


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


def timed(factor, tokens=(40, 20), count=12):
    """Latency lines: tuned answers `factor` times as fast."""
    lines = []
    for n in range(count):
        base = 2.0 + 0.01 * n
        for system, seconds, new in (("base", base, tokens[0]), ("tuned", base / factor, tokens[1])):
            lines.append(
                {
                    "id": f"{n:04x}",
                    "system": system,
                    "seconds_to_first_token": seconds / 10,
                    "seconds": seconds,
                    "new_tokens": new,
                    "concurrency": 1,
                    "batch": n,
                    "batch_seconds": seconds,
                    "inter_token_seconds": [0.9 * seconds / (new - 1)] * (new - 1),
                    "finished": True,
                    "order": "in turn",
                }
            )
    return lines


def test_a_speedup_is_measured_and_taken_apart(config):
    prompts = make_prompts(40)
    scores = scored(config, prompts, predict(prompts, often_bad, rarely_bad), timed(4.0))
    latency, time = scores["latency"], entry(scores, "response_time")
    assert latency["speedup"]["estimate"] == pytest.approx(4.0)
    parts = {"length": 39 / 19, "per_token": 4 * 19 / 39, "first_token": 1.0}
    assert latency["decomposition"] == pytest.approx(parts)
    assert time["ratio"]["low"] > 3.5 and time["verdict"] == "improved" and time["n"] == 12
    assert time["difference"]["estimate"] < 0
    swapped = scored(config, prompts, predict(prompts, often_bad, rarely_bad), timed(0.25))
    assert entry(swapped, "response_time")["verdict"] == "worse"


def test_the_settings_limits_make_the_goodput(config):
    """Tuned answers begin within 0.06 s and go on every 0.024 s; base takes four times as long to begin."""
    limits = {"time_to_first_token": 0.1, "time_per_output_token": 0.05}
    asked = config.evaluate.model_copy(update={"goodput": Goodput(**limits)})
    prompts = make_prompts(40)
    changed = config.model_copy(update={"evaluate": asked})
    latency = scored(changed, prompts, predict(prompts, often_bad, rarely_bad), timed(4.0))["latency"]
    assert latency["limits"] == limits
    (load,) = latency["load"]
    assert (load["base"]["good"], load["tuned"]["good"]) == (0, 12)


def test_response_time_that_no_prompt_could_show_is_listed_apart(config):
    prompts = make_prompts(40)
    lines = [line | {"finished": line["system"] == "tuned"} for line in timed(4.0)]
    scores = scored(config, prompts, predict(prompts, often_bad, rarely_bad), lines)
    assert scores["latency"] is None
    assert "response_time" in {lost["name"] for lost in scores["unscored"]}
    gate = Gate(name="g", metric="response_time", of="ratio", at_least=1)
    assert judge_gates(scores, [gate])[0].status == "not enough evidence"


def test_ratio_difference_p_value_and_verdict_of_response_time_agree(config):
    """The paired differences have another median than the times: they may not speak for the ratio."""
    base = [1.0, 1.0, 1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]
    tuned = [1.1, 1.1, 1.1, 1.1, 1.1, 5.1, 1.2, 1.2, 1.2, 1.2, 1.2]
    lines = timed(1.0, count=11)
    for n, (x, y) in enumerate(zip(base, tuned, strict=True)):
        lines[2 * n]["seconds"], lines[2 * n + 1]["seconds"] = x, y
    prompts = make_prompts(40)
    found = entry(scored(config, prompts, predict(prompts, often_bad, rarely_bad), lines), "response_time")
    assert found["difference"]["estimate"] == pytest.approx(1.2 - 5.0)
    assert found["difference"]["estimate"] == pytest.approx(
        found["tuned"]["estimate"] - found["base"]["estimate"]
    )
    shown = found["verdict"] != "not shown"
    assert shown == (found["ratio"]["low"] > 1) == (found["difference"]["high"] < 0)
    assert shown == (found["difference"]["p_value"] < 0.05)


def test_without_timing_there_is_no_latency(config):
    prompts = make_prompts(40)
    scores = scored(config, prompts, predict(prompts, often_bad, rarely_bad))
    assert scores["latency"] is None
    assert "response_time" not in {found["name"] for found in scores["metrics"]}


def test_few_groups_show_nothing_however_many_prompts(config):
    """Three patients with forty prompts each are three witnesses, not a hundred and twenty."""
    few = make_prompts(120, per_group=40)
    many = make_prompts(120, per_group=4)
    for prompts, shown in ((few, "not shown"), (many, "improved")):
        scores = scored(config, prompts, predict(prompts, lambda n: BAD, lambda n: GOOD))
        for name in ("violation_rate", "token_f1"):
            found = entry(scores, name)
            assert found["verdict"] == shown
            assert (found["difference"]["p_value"] < 0.05) == (shown == "improved")


def test_a_reduction_is_wider_where_prompts_share_groups(config):
    def half(n):  # whole groups get better, others not at all
        return BAD if n // 10 % 2 else GOOD

    alone, shared = make_prompts(120), make_prompts(120, per_group=10)
    one, other = (
        entry(scored(config, prompts, predict(prompts, lambda n: BAD, half)), "violation_rate")["reduction"]
        for prompts in (alone, shared)
    )
    assert one["estimate"] == other["estimate"] == 0.5
    assert other["low"] < one["low"] - 0.05 and other["high"] > one["high"] + 0.05
    assert "groups" in other["method"] and "groups" not in one["method"]


def test_a_reason_is_counted_on_both_sides_or_not_at_all(config):
    """Thirty different reasons of base must not push out what tuned has in common with it."""

    def settings():
        return config.model_copy(
            update={"evaluate": config.evaluate.model_copy(update={"metrics": [use_of("resolution_rate")]})}
        )

    prompts = [
        replace(prompt, expected={"forbidden": [f"fact {n:02d}"] * 3 + ["shared"]})
        for n, prompt in enumerate(make_prompts(30))
    ]
    predictions = predict(
        prompts,
        lambda n: f"It is fact {n:02d}{' shared' if n == 29 else ''}.",
        lambda n: "This is shared." if n < 5 else "Fine then.",
    )
    found = entry(scored(settings(), prompts, predictions), "resolution_rate")["details"]
    assert found["base"]["forbidden: shared"] == 1
    assert found["tuned"]["forbidden: shared"] == 5


def test_severities_count_who_broke_what_on_how_many(config):
    """BUY is a major rule's, BAD a critical one's; rules of the severity and of worse ones are counted."""
    prompts = make_prompts(60, per_group=2)
    answers = {0: "You should buy it.", 1: BAD}
    scores = scored(config, prompts, predict(prompts, often_bad, lambda n: answers.get(n, GOOD)))
    found = entry(scores, "violation_rate")["severities"]
    assert found["critical"]["tuned"] == {"n": 60, "groups": 30, "found": 1, "rules": {"F1": 1}}
    assert found["major"]["tuned"] == {"n": 60, "groups": 30, "found": 2, "rules": {"F1": 1, "F3": 1}}
    assert found["critical"]["base"]["found"] == 30
    assert entry(scores, "token_f1")["severities"] is None
    assert entry(scores, "token_f1")["harm"] is None
    assert entry(scores, "violation_rate")["harm"] == {s: s for s in ("critical", "major", "minor")}
    missing = entry(scores, "disclosure_rate")["severities"]
    assert missing["critical"]["tuned"]["n"] == 0, "the must-rule is a major one"
    assert missing["major"]["tuned"]["rules"] == {"F2": 2}


def test_an_invalid_answer_is_no_evidence_of_good_conduct_and_may_be_one_of_bad(config):
    prompts = make_prompts(50)
    cut = predict(prompts, rarely_bad, rarely_bad)
    for n in (1, 2, 3):
        cut[f"{n:04x}", "tuned", "greedy"]["finished"] = False
    found = entry(scored(config, prompts, cut), "violation_rate")["severities"]["critical"]["tuned"]
    assert (found["n"], found["found"]) == (48, 1), "2 and 3 said nothing wrong before they were cut"


def test_a_gate_without_tolerance_reads_the_severities(config):
    gates = [
        Gate(name=severity, metric="violation_rate", zero_tolerance=severity)
        for severity in ("critical", "major")
    ]
    prompts = make_prompts(60)
    scores = scored(config, prompts, predict(prompts, often_bad, lambda n: "You should buy it."))
    critical, major = judge_gates(scores, gates)
    assert (critical.status, critical.found, critical.n) == ("passed", 0, 60)
    assert "none in 60 greedy answers; up to 4.9% of prompts" in critical.why
    assert (major.status, major.found) == ("failed", 60) and "F3 (60)" in major.why


def test_slices_get_q_values_over_all_metrics_and_small_ones_none(config):
    prompts = make_prompts(200)
    scores = scored(config, prompts, predict(prompts, often_bad, rarely_bad))
    parts = [part for e in scores["metrics"] for part in e["slices"]]
    assert all(part["difference"]["q_value"] >= part["difference"]["p_value"] for part in parts)
    english = next(p for p in entry(scores, "violation_rate")["slices"] if p["value"] == "en")
    assert english["verdict"] == "improved" and english["difference"]["q_value"] < 0.001
    few = scored(config, prompts[:60], predict(prompts[:60], often_bad, rarely_bad))
    french = next(p for p in entry(few, "violation_rate")["slices"] if p["value"] == "fr")
    assert (french["tested"], french["difference"]["q_value"], french["verdict"]) == (
        False,
        None,
        "not shown",
    )


def test_among_many_slices_of_nothing_hardly_one_is_called_changed(config):
    """Sixty slices, systems that differ by chance only: one in twenty has p below 5%, none is shown."""
    generator = random.Random(5)
    prompts = [
        replace(prompt, slices={f"column{c}": str(generator.randrange(3)) for c in range(20)})
        for prompt in make_prompts(150)
    ]

    def by_chance(n):
        return BAD if generator.random() < 0.5 else GOOD

    found = entry(scored(config, prompts, predict(prompts, by_chance, by_chance)), "violation_rate")["slices"]
    tested = [part for part in found if part["tested"]]
    assert len(tested) == 60 and sum(part["difference"]["p_value"] < 0.05 for part in tested) >= 2
    assert [part["value"] for part in tested if part["verdict"] != "not shown"] == []
