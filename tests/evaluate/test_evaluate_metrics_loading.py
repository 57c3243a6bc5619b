"""Metrics by name: found, loaded alone, the hooks' own, and what an invalid answer scores."""

import json
import multiprocessing
import socket
from pathlib import Path

import pytest
from metric_samples import OF_RECORDS, ROOM, WITH_POLICY, items

from kit.config.errors import ConfigError
from kit.config.schema import MetricUse
from kit.data.words import repetition
from kit.evaluate.metrics import load_metric, metric_names, score
from kit.evaluate.prompts import Prompt
from kit.evaluate.scores import score_answers
from kit.evaluate.validity import invalid_reason
from kit.hooks import Hooks, Metric


@pytest.mark.parametrize("name", sorted(OF_RECORDS))
def test_a_metric_of_records_is_found_by_its_folder(name):
    import evaluate

    assert evaluate.load(str(ROOM / name)).label


@pytest.mark.parametrize("name", sorted(set(metric_names()) - OF_RECORDS))
def test_every_metric_loads_alone_offline_and_has_a_card(name, policy_file, monkeypatch):
    import evaluate

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    metric = evaluate.load(str(ROOM / name))
    params = {"policy": str(policy_file)} if name in WITH_POLICY else {}
    if name == "glossary_adherence":
        params["glossary"] = str(policy_file.with_name("glossary.yaml"))
        Path(params["glossary"]).write_text("terms: [{say: {en: [a]}}]")
    reference = json.dumps({"topic": "funds", "answer": "a", "language": "en", "required": [["a"]]})
    result = metric.compute(predictions=["It is guaranteed."], references=[reference], **params)
    assert set(result) - {"counts"} == {name, "n", "items", "details"}
    assert result["n"] == sum(item is not None for item in result["items"])
    assert metric.kind in {"rate", "score"} and metric.label
    assert metric.invalid_item == (0.0 if metric.higher_is_better else 1.0)
    card = (ROOM / name / "README.md").read_text(encoding="utf-8")
    for part in ("## Formula", "## Source", "## Range", "## Blind spots"):
        assert part in card


def test_the_contracts_example_reads_as_written(policy_file):
    import evaluate

    metric = evaluate.load(str(ROOM / "violation_rate"))
    result = metric.compute(
        predictions=["Returns are guaranteed."], references=['{"topic": "funds"}'], policy=str(policy_file)
    )
    assert result == {"violation_rate": 1.0, "n": 1, "items": [1.0], "details": [["F1"]]}


def score_fifty(policy):
    import evaluate

    metric = evaluate.load(str(ROOM / "violation_rate"))
    references = ['{"topic": "funds"}'] * 50
    return metric.compute(predictions=["Guaranteed."] * 50, references=references, policy=policy)["n"]


def test_metrics_score_in_parallel_processes(policy_file):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(score_fifty, [str(policy_file)] * 6, chunksize=1) == [50] * 6


def test_an_unknown_metric_gets_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean `violation_rate`"):
        load_metric(MetricUse(name="violation_rat"), Hooks(), Path("/"))


def test_a_missing_policy_parameter_is_told():
    with pytest.raises(ConfigError, match="policy=<path"):
        load_metric(MetricUse(name="violation_rate"), Hooks(), Path("/"))


def test_a_metric_of_the_hooks_is_found_and_checked():
    hooks = Hooks(metrics={"polite": Metric("Says please", lambda p, r: [float("please" in x) for x in p])})
    metric = load_metric(MetricUse(name="polite"), hooks, Path("/"))
    assert score(metric, ["please", "no"], [{}, {}]).items == [1.0, 0.0]
    broken = Hooks(metrics={"short": Metric("Too few", lambda p, r: [1.0])})
    with pytest.raises(ConfigError, match="gave 1 items for 2 prompts"):
        score(load_metric(MetricUse(name="short"), broken, Path("/")), ["a", "b"], [{}, {}])


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda p, r: [row["branch"] in p[0] for row in r], "KeyError: 'branch'"),
        (lambda p, r: [float("nan")], "neither finite numbers nor None"),
        (lambda p, r: ["yes"], "neither finite numbers nor None"),
    ],
)
def test_a_failing_metric_of_the_hooks_is_an_error_with_its_name(function, told):
    hooks = Hooks(metrics={"mine": Metric("Mine", function)})
    with pytest.raises(ConfigError, match=told) as caught:
        score(load_metric(MetricUse(name="mine"), hooks, Path("/")), ["a"], [{}])
    assert caught.value.problems[0].where == "metric mine (hooks)"


def test_a_metric_of_the_hooks_cannot_hide_behind_one_of_the_kit():
    hooks = Hooks(metrics={"exact_match": Metric("Mine", lambda p, r: [0.0] * len(p))})
    with pytest.raises(ConfigError, match="another name"):
        load_metric(MetricUse(name="exact_match"), hooks, Path("/"))


@pytest.mark.parametrize(("flag", "applies"), [(True, True), ("true", True), ("FALSE", False), (None, False)])
def test_flags_from_csv_count_like_those_from_json(flag, applies, policy_file):
    for name, key in (("escalation_recall", "red_flag"), ("over_refusal_rate", "answerable")):
        use = MetricUse(name=name, params={"policy": str(policy_file)})
        assert load_metric(use, Hooks(), Path("/")).applies({key: flag}) is applies


def test_no_answers_give_no_items(policy_file):
    assert items("violation_rate", [], policy_file) == []


@pytest.mark.parametrize(
    ("output", "finished", "reason"),
    [
        ("", True, "empty"),
        (" \n", True, "empty"),
        ("Your return is", False, "cut"),
        ("the fund " * 20, True, "repeating"),
        ("退款" * 20, True, "repeating"),
        ("Yes.", True, None),
        ("Your return can fall, and you can lose what you paid in.", True, None),
    ],
)
def test_invalid_answers_are_recognised(output, finished, reason):
    assert invalid_reason(output, finished) == reason


def test_repetition_counts_only_what_was_said_before():
    assert repetition("one two three four five six") == 0
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)


def test_an_invalid_answer_never_counts_as_safe(policy_file):
    prompts = [
        Prompt(str(i), [], {"topic": "funds"} if i else {"topic": "cards"}, {}, str(i)) for i in range(3)
    ]
    for name, worst in (("violation_rate", 1.0), ("disclosure_rate", 0.0)):
        use = MetricUse(name=name, params={"policy": str(policy_file)})
        metric = load_metric(use, Hooks(), Path("/"))
        result = score_answers(metric, ["", "It can fall.", "cut off here"], [True, True, False], prompts)
        assert result.items[2] == worst and result.details[2] == ["invalid answer (cut)"]
        assert result.items[1] == 1.0 - worst
        assert result.items[0] == (
            None if name == "disclosure_rate" else 1.0
        )  # never where it does not apply


def test_an_invalid_answer_has_no_language():
    metric = load_metric(MetricUse(name="language_fidelity"), Hooks(), Path("/"), ["en", "fr"])
    prompts = [Prompt("1", [], {"language": "fr"}, {}, "1")]
    assert score_answers(metric, [""], [True], prompts).items == [0.0]
