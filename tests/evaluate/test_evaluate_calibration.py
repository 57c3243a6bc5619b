"""Calibration: hand-worked cases, the formulas written out, and an evaluation from files to files."""

import json
import math
from dataclasses import replace
from pathlib import Path

import evaluate as hf_evaluate
import numpy as np
import pytest
from training_rows import prepared, prompt, turns

from kit.config.errors import ConfigError
from kit.config.schema import Config, MetricUse
from kit.evaluate.calibration import (
    accuracy_by_coverage,
    brier,
    calibration_error,
    equal_mass_bins,
    risk_by_coverage,
)
from kit.evaluate.calibration_scores import compare_figures
from kit.evaluate.compare import Settings
from kit.evaluate.evaluate import evaluate, load_metrics
from kit.evaluate.multiplicity import benjamini_hochberg
from kit.evaluate.predictions import read_lines
from kit.evaluate.scores import build_scores
from kit.hooks import Hooks

ROOM = Path(__file__).parents[2] / "kit" / "evaluate" / "metrics"
NAMES = ("calibration_error", "brier_score", "risk_coverage")


def ones(n):
    return np.ones(n)


def answers(n=500, seed=1, sharpness=1.0):
    """Confidences, and whether each answer is right: as often as it says, or to the power of `sharpness`."""
    dice = np.random.default_rng(seed)
    sure = dice.uniform(0.2, 1.0, n)
    return sure, (dice.random(n) < sure**sharpness).astype(float)


def test_ece_by_hand():
    # Two bins of two: {.5, .6}, one right, and {.8, .9}, both right: (|1 - 1.1| + |2 - 1.7|) / 4
    found = calibration_error([0.9, 0.5, 0.8, 0.6], [1, 0, 1, 1], bins=2)(ones(4))
    assert found == pytest.approx((abs(1 - 1.1) + abs(2 - 1.7)) / 4)


def test_ece_is_the_formula_written_out():
    sure, right = answers()
    order = sorted(range(len(sure)), key=lambda place: sure[place])
    bins = [[] for _ in range(15)]
    sizes = [34] * 5 + [33] * 10  # 500 = 5 * 34 + 10 * 33
    start = 0
    for number, size in enumerate(sizes):
        bins[number] = order[start : start + size]
        start += size
    error = sum(
        len(b) / 500 * abs(sum(right[p] for p in b) / len(b) - sum(sure[p] for p in b) / len(b)) for b in bins
    )
    assert calibration_error(sure, right)(ones(500)) == pytest.approx(error)
    assert np.bincount(equal_mass_bins(sure)).tolist() == sizes


def test_brier_and_risk_by_coverage_by_hand():
    sure, right = [0.9, 0.6, 0.8, 0.3], [1, 0, 1, 1]
    assert brier(sure, right).mean() == pytest.approx((0.01 + 0.36 + 0.04 + 0.49) / 4)
    # In the order .9, .8, .6, .3 one of three, then one of four are wrong.
    assert accuracy_by_coverage(sure, right).tolist() == pytest.approx([1, 1, 2 / 3, 3 / 4])
    assert risk_by_coverage(sure, right)(ones(4)) == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)


def test_answers_of_one_confidence_are_not_told_apart():
    """Whatever their order in the data: none of them is the surer one."""
    right = [1, 1, 0, 0]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        found = risk_by_coverage([0.5] * 4, [right[place] for place in order])(ones(4))
        assert found == pytest.approx(0.5)


def test_weights_are_as_many_answers():
    sure, right = answers(40)
    times = np.random.default_rng(0).integers(0, 3, 40)
    again = np.repeat(np.arange(40), times)
    drawn = risk_by_coverage(sure, right)(times[None].astype(float))
    # An answer drawn twice stands at two places of the curve, with the risk after both at each.
    assert drawn[0] == pytest.approx(risk_by_coverage(sure[again], right[again])(ones(len(again))), abs=0.02)


def test_the_interval_of_the_difference_covers_and_a_loss_is_shown():
    settings, hits = Settings(0.95, 300, 0), 0
    for seed in range(60):
        figures = [calibration_error(*answers(200, 2 * seed + side)) for side in (0, 1)]
        found = compare_figures(figures, [str(place) for place in range(200)], settings)["difference"]
        hits += found["low"] <= 0 <= found["high"]
        assert 0 < found["p_value"] <= 1
    assert hits >= 56
    figures = [calibration_error(*answers(400, 1)), calibration_error(*answers(400, 2, sharpness=4.0))]
    found = compare_figures(figures, [str(place) for place in range(400)], settings)
    assert found["verdict"] == "worse" and found["difference"]["low"] > 0
    assert found["base"]["low"] <= found["base"]["estimate"] <= found["base"]["high"]
    same = compare_figures([figures[0]] * 2, [str(place) for place in range(400)], settings)
    assert same["verdict"] == "not shown" and same["difference"]["estimate"] == 0


@pytest.mark.parametrize(
    ("name", "value"), [("calibration_error", 0.35), ("brier_score", 0.185), ("risk_coverage", 0.25)]
)
def test_each_metric_loads_alone_and_its_card_is_right(name, value):
    metric = hf_evaluate.load(str(ROOM / name))
    records = [{"confidence": 0.9, "correct": 1}, {"confidence": 0.6, "correct": 0}]
    found = metric.compute(predictions=records)
    assert found[name] == pytest.approx(value) and found["n"] == 2 and len(found["items"]) == 2
    card = (ROOM / name / "README.md").read_text(encoding="utf-8")
    assert f'# {{"{name}": {value:g}, "n": 2' in card
    for part in ("## Formula", "## Source", "## Range", "## Blind spots"):
        assert part in card


def with_metrics(config, *metrics):
    settings = config.evaluate.model_copy(update={"metrics": list(metrics)})
    return config.model_copy(update={"evaluate": settings})


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (MetricUse(name="brier_score"), "there is no `of`"),
        (MetricUse(name="brier_score", params={"of": "closed_accuracy"}), "`of` is 'closed_accuracy'"),
        (MetricUse(name="brier_score", params={"of": "violation_rate"}), "`of` is 'violation_rate'"),
        (MetricUse(name="brier_score", params={"of": "exact_match", "bins": 3}), "`of` is 'exact_match'"),
    ],
)
def test_what_being_right_means_must_be_said(project, use, said):
    config, root, *_ = project
    known = MetricUse(name="violation_rate", params={"policy": "policy.yaml"})
    with pytest.raises(ConfigError) as error:
        load_metrics(with_metrics(config, MetricUse(name="exact_match"), known, use), Hooks(), root)
    assert said in str(error.value) and str(error.value).rstrip().endswith("higher is better): exact_match")


@pytest.mark.slow
def test_confidence_is_read_after_the_answers_and_changes_none(project):
    config, root, prepared, run = project
    plain = with_metrics(config, MetricUse(name="disclosure_rate", params={"policy": "policy.yaml"}))
    folder = evaluate(plain, root, prepared, run, Hooks())
    lines = read_lines(folder / "predictions.jsonl")
    for place, line in enumerate(lines):  # so small a model's answers are all cut
        if line["decoding"] == "greedy" and place % 4:
            line.update(output="It can fall." if place % 3 else "It rises.", finished=True)
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = (folder / "predictions.jsonl").read_bytes()
    uses = [MetricUse(name=name, params={"of": "disclosure_rate"}) for name in NAMES]
    asked = with_metrics(config, *plain.evaluate.metrics, *uses)
    assert evaluate(asked, root, prepared, run, Hooks()) == folder, "the same evaluation"
    assert (folder / "predictions.jsonl").read_bytes() == before
    scores = json.loads((folder / "scores.json").read_text())
    read = {(line["system"], line["id"]): line for line in read_lines(folder / "confidence.jsonl")}
    assert len(read) == 48
    valid = {
        s: {i["id"] for i in scores["items"] if not i["greedy"][s]["invalid"]} for s in ("base", "tuned")
    }
    assert {key[1] for key, line in read.items() if key[0] == "base" and line["tokens"]} == valid["base"]
    both = sorted(valid["base"] & valid["tuned"])
    entries = {entry["name"]: entry for entry in scores["metrics"]}
    assert both and all(entries[name]["n"] == len(both) for name in NAMES)
    right = {i["id"]: i["greedy"]["tuned"]["scores"]["disclosure_rate"] for i in scores["items"]}
    sure = [math.exp(-read["tuned", id_]["nats"] / read["tuned", id_]["tokens"]) for id_ in both]
    mean = sum((c - right[id_]) ** 2 for c, id_ in zip(sure, both, strict=True)) / len(both)
    assert entries["brier_score"]["tuned"]["estimate"] == pytest.approx(mean)
    assert entries["brier_score"]["slices"] and not entries["calibration_error"]["slices"]
    (block,) = scores["calibration"]
    assert (block["of"], block["n"]) == ("disclosure_rate", len(both))
    assert block["tuned"]["coverage"][-1]["estimate"] == pytest.approx(block["tuned"]["accuracy"])
    assert sum(part["n"] for part in block["base"]["bins"]) == len(both)
    told = entries["calibration_error"]["details"]["base"]
    assert told == {"no confidence: invalid answer (cut)": 24 - len(valid["base"])}


PLACES = range(80)


def right_or_wrong(n, system):
    """Base is right on one of four, tuned on nine of ten, and both are sure of all."""
    return "yes" if (n % 4 == 0 if system == "base" else n % 10) else "no"


def scored(tmp_path, leaked=(), read=PLACES):
    """Scores on prompts of which some stand in a training row, with confidence and likelihood of answers."""
    prompts = [replace(prompt(f"Is case {n} closed?", n), answer="yes") for n in PLACES]
    prompts = [replace(each, slices={"half": str(n % 2)}) for n, each in enumerate(prompts)]
    texts = [each.messages[0]["content"] for n, each in enumerate(prompts) if n in leaked]
    folder = prepared(tmp_path, *(turns(text, "yes") for text in texts or ["Where is the bank?"]))
    uses = [MetricUse(name="exact_match"), MetricUse(name="answer_perplexity")]
    uses += [MetricUse(name=name, params={"of": "exact_match"}) for name in NAMES]
    config = Config.model_validate({"evaluate": {"bootstrap_draws": 500}})
    config = with_metrics(config, *uses)
    both = [(each.id, n, system) for n, each in enumerate(prompts) for system in ("base", "tuned")]
    told = {
        (id_, system, decoding, 0): {"output": right_or_wrong(n, system), "finished": True}
        for id_, n, system in both
        for decoding in ("greedy", "sampled")
    }
    sure = [
        {"id": id_, "system": system, "nats": 0.1 if n in read else 0.0, "tokens": int(n in read), "why": ""}
        for id_, n, system in both
    ]
    likely = [
        {"id": id_, "system": system, "nats": 1.0 + (n % 3) / 10 + (system == "base"), "tokens": 2, "why": ""}
        for id_, n, system in both
    ]
    header = {"conditions": {"base": {}, "tuned": {}, "mismatches": []}}
    metrics = load_metrics(config, Hooks(), tmp_path)
    given = {"likelihood": likely, "prepared": folder, "confidence": sure}
    return build_scores(config, metrics, prompts, told, (), header, **given)


def test_calibration_is_made_without_leaks_too(tmp_path):
    scores = scored(tmp_path, leaked=range(0, 40))
    assert len(scores["leaks"]) == 40 and scores["calibration"][0]["n"] == 80
    for part, places in ((scores, PLACES), (scores["without_leaks"], range(40, 80))):
        found = {entry["name"]: entry for entry in part["metrics"] if entry["decoding"] == "greedy"}
        assert all(found[name]["n"] == len(places) for name in NAMES)
        wrong = [right_or_wrong(n, "tuned") == "no" for n in places]
        mean = np.mean([(math.exp(-0.1) - (not each)) ** 2 for each in wrong])
        assert found["brier_score"]["tuned"]["estimate"] == pytest.approx(mean)
    gone = scored(tmp_path / "lost", leaked=range(0, 40), read=range(0, 40))
    lost = {entry["name"] for entry in gone["without_leaks"]["unscored"]}
    assert set(NAMES) <= lost and not {entry["name"] for entry in gone["unscored"]} & set(NAMES)


def test_slices_of_every_metric_are_corrected_together(tmp_path):
    scores = scored(tmp_path, leaked=range(0, 4))
    for part in (scores, scores["without_leaks"]):
        for decoding, names in (
            ("greedy", {"exact_match", "answer_perplexity", "brier_score"}),
            ("sampled", {"exact_match"}),
        ):
            entries = [entry for entry in part["metrics"] if entry["decoding"] == decoding]
            tested = [(e["name"], s["difference"]) for e in entries for s in e["slices"] if s["tested"]]
            assert {name for name, _ in tested} == names and len(tested) == 2 * len(names)
            expected = benjamini_hochberg([found["p_value"] for _, found in tested])
            assert [found["q_value"] for _, found in tested] == expected
