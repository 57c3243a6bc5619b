"""The evaluator on real rows: language identification in shop text, and the PubMedQA annotator pair."""

import json
import os
from pathlib import Path

import pytest

from kit.config.schema import MetricUse
from kit.evaluate import statistics
from kit.evaluate.compare import Settings, compare
from kit.evaluate.metrics import load_metric, score
from kit.evaluate.policy import load_policy
from kit.hooks import Hooks

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CASEKIT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def read(name):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"real data is not here: {path} (set CASEKIT_SHARED_DATA to its folder)")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fidelity(pairs):
    metric = load_metric(MetricUse(name="language_fidelity"), Hooks(), Path("/"), ["en", "fr", "es"])
    result = score(metric, [text for text, _ in pairs], [{"language": language} for _, language in pairs])
    return result.mean, sum(item is not None for item in result.items), len(pairs)


@pytest.mark.parametrize(("language", "least"), [("en", 0.97), ("fr", 0.96), ("es", 0.96)])
def test_editors_chit_chat_is_in_its_own_language(language, least):
    rows = [row for row in read("ecom_mschitchat_multi.jsonl") if row["language"] == language]
    mean, scored, asked = fidelity([(row["answer"], language) for row in rows])
    assert mean >= least
    assert 0.2 < scored / asked < 0.95  # many replies are too short to tell, and are left out


@pytest.mark.parametrize("language", ["en", "fr", "es"])
def test_shop_text_is_in_its_own_language_and_not_in_another(language):
    rows = [
        row for row in read("ecom_bagisto_parallel_en_fr_es.jsonl") if row["fr"] != row["en"] != row["es"]
    ]
    mean, scored, _ = fidelity([(row[language], language) for row in rows])
    assert scored > 250 and mean >= 0.95
    other = {"en": "fr", "fr": "es", "es": "en"}[language]
    wrong, _, _ = fidelity([(row[other], language) for row in rows])
    assert wrong <= 0.05


def test_chinese_questions_are_in_no_deployed_language():
    rows = [row for row in read("eval_mgsm_multi.jsonl") if row["language"] == "zh"]
    mean, scored, _ = fidelity([(row["question"], "en") for row in rows])
    assert scored == len(rows) and mean == 0


def test_service_answers_that_help_are_no_refusals():
    """Of the 2,000 answers 3 decline."""
    policy = load_policy(ROOT / "recipes" / "ecommerce" / "policy.yaml")
    refused = [row["response"] for row in read("ecom_bitext_en.jsonl") if policy.is_refusal(row["response"])]
    assert len(refused) == 3
    wanted = ("unable to assist", "AI language model", "unable to access")
    assert all(any(phrase in text for phrase in wanted) for text in refused)


def test_the_pubmedqa_annotator_pair_is_reproduced():
    rows = [row for row in read("paired/pubmedqa_human_pair.jsonl") if row["test_split"]]
    metric = load_metric(MetricUse(name="exact_match"), Hooks(), Path("/"))
    references = [{"answer": row["gold"]} for row in rows]
    # "Reasoning-free" is the annotator who could read the conclusion (Jin et al. 2019, section 4).
    without, with_ = (
        score(metric, [row[side] for row in rows], references).items
        for side in ("reasoning_required", "reasoning_free")
    )
    found = compare(
        without,
        with_,
        [str(place) for place in range(len(rows))],
        kind="rate",
        higher_is_better=True,
        settings=Settings(0.95, 1000, 0),
    )
    assert found is not None and found.n == 500
    assert (round(100 * found.base.estimate, 1), round(100 * found.tuned.estimate, 1)) == (78.0, 90.4)
    interval = (found.difference.estimate, found.difference.low, found.difference.high)
    assert interval == pytest.approx((0.124, 0.077, 0.171), abs=6e-4)
    assert statistics.paired_table(without, with_) == statistics.PairedTable(345, 45, 107, 3)
    assert found.verdict == "improved" and found.p_value < 1e-5
