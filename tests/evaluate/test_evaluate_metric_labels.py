"""The rule-based metrics against answers read by hand: the published table is what is measured."""

import importlib.util
import json
import os
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LABELS = ROOT / "tests" / "evaluate" / "labels"
DATA = Path(os.environ.get("CASEKIT_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("metric_labels", ROOT / "bench" / "metric_labels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def labels(name):
    return [json.loads(line) for line in (LABELS / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    "case", ["finance", "medical", "ecommerce", "fresh_finance", "fresh_medical", "fresh_ecommerce"]
)
def test_forty_answers_a_case_are_labelled_by_place_and_hold_no_text(case):
    found = labels(f"{case}.jsonl")
    assert len({(label["file"], label["row"], label["at"]) for label in found}) >= 40
    assert len({json.dumps(label) for label in found}) == len(found)
    assert {label["fault"] for label in found} == {True, False}
    for label in found:
        assert isinstance(label["fault"], bool) and label["file"].endswith(".jsonl")
        for value in label.values():
            assert not isinstance(value, str) or len(value) <= 40  # a name or a place, never an answer


@pytest.mark.parametrize("case", ["finance", "medical", "ecommerce"])
def test_the_fresh_answers_were_not_seen_before(case):
    def places(name):
        return {(label["file"], label["row"], label["at"], label.get("line")) for label in labels(name)}

    assert not places(f"{case}.jsonl") & places(f"fresh_{case}.jsonl")


def test_the_written_sentences_name_rules_that_there_are(bench):
    for case in ("finance", "medical"):
        rules = {rule.id for rule in bench._policy(case).rules}
        found = labels(f"written_{case}.jsonl")
        assert {rule for row in found for rule in row["rules"]} <= rules
        for written in ("after", "fresh"):
            kinds = Counter(bool(row["rules"]) for row in found if row["written"] == written)
            assert kinds.total() >= 15 and set(kinds) == {True, False}


def test_every_written_contradiction_has_an_answer_beside_it_that_agrees():
    found = labels("written_contradiction.jsonl")
    asked = {(row["prompt"], row["reference"]) for row in found}
    assert Counter((row["prompt"], row["reference"], row["fault"]) for row in found) == Counter(
        {(*pair, fault): 1 for pair in asked for fault in (True, False)}
    )
    assert min(Counter(row["case"] for row in found).values()) >= 16
    assert {row["language"] for row in found} == {"en", "fr", "es"}


def test_counts_make_precision_and_recall(bench):
    counts = bench.Counts()
    for said, true in ((True, True), (True, False), (False, True), (False, True), (False, False)):
        counts.add(said, true)
    assert (counts.n, counts.positives, counts.precision, counts.recall) == (5, 3, 0.5, pytest.approx(1 / 3))
    assert bench.Counts(right=2).precision is None and bench.Counts(right=2).recall is None


def test_the_published_table_is_the_measured_one(bench):
    if not (DATA / "ecom_hetpqa_en.jsonl").is_file():
        pytest.skip(f"real data is not here: {DATA} (set CASEKIT_SHARED_DATA to its folder)")
    page = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    assert bench.table(bench.measure(DATA)) in page, "run bench/metric_labels.py and put its table there"
