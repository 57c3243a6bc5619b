"""Closed questions: which label an answer gives, accuracy, macro-F1, and figures made from sums."""

from pathlib import Path

import numpy as np
import pytest

from kit.config.errors import ConfigError
from kit.config.schema import MetricUse
from kit.evaluate.compare import Settings, compare
from kit.evaluate.labels import given_label
from kit.evaluate.metrics import load_metric, score
from kit.evaluate.prompts import Prompt
from kit.evaluate.scores import compare_metric, score_answers
from kit.evaluate.sums import compare_sums
from kit.hooks import Hooks

DECISIONS = ["yes", "no", "maybe"]
SETTINGS = Settings(0.95, 2000, 0)


def load(name, **params):
    return load_metric(MetricUse(name=name, params=params), Hooks(), Path("/"))


def prompt(number, label, slices=None):
    return Prompt(str(number), [], {"label": label}, slices or {}, str(number))


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("Yes, it does.", "yes"),
        ("**No**", "no"),
        ("The answer is: maybe.", "maybe"),
        ("They do differ. Final answer: no", "no"),
        ('Nothing is known. The conclusion is "maybe".', "maybe"),
        ("At first the answer is yes. On reflection, the answer is no.", "no"),
        ("There is no evidence of it.", None),
        ("Not really.", None),
        ("Nobody knows; yesterday it was so.", None),
        ("", None),
    ],
)
def test_the_decision_of_an_answer(answer, label):
    assert given_label(answer, DECISIONS) == label


def test_a_name_may_stand_anywhere_unless_denied_or_beside_another():
    departments = ["Cardiology", "Neurology", "urgent", "non-urgent"]
    assert given_label("You should see the cardiology ward.", departments) == "Cardiology"
    assert given_label("This is not for neurology but for cardiology.", departments) == "Cardiology"
    assert given_label("Either cardiology or neurology.", departments) is None
    assert given_label("It is non-urgent.", departments) == "non-urgent"
    assert given_label("我认为答案是否。", ["是", "否"]) == "否"


def test_closed_accuracy_and_macro_f1_by_hand():
    expected = ["yes", "yes", "yes", "no", "maybe", None]
    answers = ["Yes.", "yes", "No.", "no", "Yes", "yes"]
    references = [{"label": label} if label else {} for label in expected]
    accuracy = score(load("closed_accuracy"), answers, references)
    assert accuracy.items == [1, 1, 0, 1, 0, None] and accuracy.mean == pytest.approx(3 / 5)
    assert accuracy.details[4] == ["yes where maybe was expected"]
    # yes: 2·2/(3 given + 3 expected); no: 2·1/(2 + 1); maybe: 0.
    f1 = score(load("macro_f1"), answers, references)
    assert f1.mean == pytest.approx((4 / 6 + 2 / 3 + 0) / 3)
    assert f1.items == accuracy.items and f1.counts is not None and f1.counts[5] is None


def test_macro_f1_counts_an_expected_label_that_is_not_among_the_given_ones():
    metric, references = load("macro_f1", labels=["yes", "no"]), [{"label": "yes"}, {"label": "maybe"}]
    found = score(metric, ["yes", "no"], references)
    assert found.mean == pytest.approx((1 + 0 + 0) / 3)


def test_labels_must_be_a_list():
    with pytest.raises(ConfigError, match=r"labels=\[\.\.\.\]"):
        load("closed_accuracy", labels="yes")


def test_a_broken_answer_gives_no_label():
    prompts = [prompt(0, "yes"), prompt(1, "no"), prompt(2, "yes")]
    found = score_answers(load("macro_f1"), ["yes", "no", "yes and then"], [True, True, False], prompts)
    assert found.items == [1, 1, 0]
    assert found.mean == pytest.approx((2 / 3 + 1) / 2)  # yes: 2·1/(1 given + 2 expected)


def test_base_and_tuned_are_compared_by_their_macro_f1_and_each_slice_by_its_own():
    labels = ["yes"] * 60 + ["no"] * 30
    prompts = [prompt(i, label, {"topic": "a" if i % 2 else "b"}) for i, label in enumerate(labels)]
    metric, done = load("macro_f1"), [True] * 90
    base = score_answers(metric, ["yes"] * 90, done, prompts)
    tuned = score_answers(metric, labels, done, prompts)
    entry = compare_metric(metric, base, tuned, prompts, SETTINGS)
    assert entry is not None and entry["kind"] == "score" and entry["of_sums"]
    assert entry["base"]["estimate"] == pytest.approx((2 * 60 / 150 + 0) / 2)  # accuracy would be 0.67
    assert entry["tuned"]["estimate"] == 1.0 and entry["verdict"] == "improved"
    assert entry["difference"]["low"] > 0.5 and entry["difference"]["p_value"] < 0.01
    for part in entry["slices"]:
        assert part["base"]["estimate"] == pytest.approx(0.4) and part["n"] == 45
    same = compare_metric(metric, tuned, tuned, prompts, SETTINGS)
    assert same is not None
    assert (same["difference"]["estimate"], same["difference"]["p_value"]) == (0, 1)
    assert same["verdict"] == "not shown"


def test_a_mean_as_sums_has_the_interval_of_a_mean():
    generator = np.random.default_rng(1)
    values = generator.gamma(2.0, size=120)
    groups = [str(place // 2) for place in range(120)]
    counts = np.stack([values, np.ones(120)], axis=1)

    def mean(sums):
        return sums[..., 0] / sums[..., 1]

    found, twice, difference, p_value = compare_sums(counts, 2 * counts, groups, mean, draws=4000)
    as_items = compare(
        list(values), list(values), groups, kind="score", higher_is_better=True, settings=SETTINGS
    )
    assert as_items is not None
    plain = as_items.base
    assert found.estimate == pytest.approx(plain.estimate)
    width = plain.high - plain.low
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.15 * width)
    assert twice == found and difference.low == difference.high == 0 and p_value == 1
    worse = counts * [0.8, 1.0]
    _, _, difference, p_value = compare_sums(counts, worse, groups, mean, draws=4000)
    assert difference.estimate == pytest.approx(-0.2 * plain.estimate)
    assert difference.high < 0 and p_value < 0.001


def test_sets_of_labels_by_hand():
    pressure = ["high blood pressure", "hypertension"]
    cases = [
        ("You have asthma and hypertension.", ["asthma", pressure]),
        ("You have asthma and no hypertension.", ["Asthma", pressure]),
        ("It is diabetes insipidus.", ["diabetes insipidus"]),
        ("It is diabetes.", ["diabetes"]),
        ("It is asthma.", []),
        ("It is nothing.", []),
        ("It is nothing.", ["asthma"]),
        ("It is asthma.", None),
    ]
    references = [{} if labels is None else {"labels": labels} for _, labels in cases]
    found = score(load("label_set_f1"), [answer for answer, _ in cases], references)
    assert found.items == pytest.approx([1, 2 / 3, 1, 1, 0, 1, 0, None])
    # right: 2 + 1 + 1 + 1; named: 2 + 1 + 1 + 1 + 1; expected: 2 + 2 + 1 + 1 + 1.
    assert found.mean == pytest.approx(2 * 5 / (6 + 7))
    assert found.details[1] == ["misses an expected label"]
    assert found.details[4] == ["names a label that is not expected"]


def test_labels_that_no_row_expects_can_be_named_wrongly():
    references, answers = [{"labels": ["asthma"]}], ["Asthma or pneumonia."]
    assert score(load("label_set_f1"), answers, references).mean == 1
    assert score(load("label_set_f1", labels=["pneumonia"]), answers, references).mean == pytest.approx(2 / 3)
    with pytest.raises(ConfigError, match=r"labels=\[\.\.\.\]"):
        load("label_set_f1", labels="pneumonia")


def test_a_set_metric_applies_before_any_answer_is_scored():
    assert load("label_set_f1").applies({"labels": ["a"]}) and not load("label_set_f1").applies({})


def test_a_figure_of_few_groups_shows_nothing_however_clear_it_looks():
    counts, better = np.array([[0.0, 1.0]] * 4), np.array([[1.0, 1.0]] * 4)

    def mean(sums):
        return sums[..., 0] / sums[..., 1]

    _, _, difference, p_value = compare_sums(counts, better, list("abcd"), mean, draws=500)
    assert difference.low == difference.high == 1 and p_value == 2 / 2**4
    _, _, _, p_value = compare_sums(counts, better, list("aaaa"), mean, draws=500)
    assert p_value == 1
