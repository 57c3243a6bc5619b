"""Times, groups, severities and q-values in `scores.json`: what is evidence, and of what."""

import random
from dataclasses import replace

import pytest
from scores_samples import (
    BAD,
    GOOD,
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

from kit.config.gates import Gate
from kit.config.schema import Goodput
from kit.evaluate.gates import judge_gates

__all__ = ["config"]  # a fixture


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
        cut[f"{n:04x}", "tuned", "greedy", 0]["finished"] = False
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
