"""Overlap with a reference: chrF and BLEU against sacreBLEU's figures, ROUGE-L, length, repetition."""

import json
from itertools import combinations
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from kit.config.schema import MetricUse
from kit.evaluate.compare import Settings
from kit.evaluate.evaluate import evaluate, task_scorer
from kit.evaluate.metrics import load_metric, score
from kit.evaluate.prompts import Prompt
from kit.evaluate.scores import compare_metric, score_answers
from kit.evaluate.subsequence import longest_common_subsequence
from kit.hooks import Hooks
from kit.report.contract import json_schema

PAIRS = [
    ("The parcel leaves on Monday.", "Your parcel leaves on Tuesday."),
    (
        "Votre commande n° 98 arrive demain, à 12,5 km.",
        "Votre commande n° 98 arrivera demain, à 12,5 km d'ici.",
    ),
    ("It can fall in value &amp; rise again.", "Its value can fall and rise."),
    ("No.", "Yes, it does."),
]
# Written down from sacreBLEU 2.6.0: BLEU() and CHRF() of the corpus; BLEU(effective_order=True) and CHRF()
# of a sentence.
WHOLE = {"bleu": 32.98697894371842, "chrf": 59.055829808755924}
SINGLE = {
    "bleu": [32.46679154750991, 55.097857671324185, 11.99014838091355, 11.15650800742149],
    "chrf": [58.246552589900446, 78.03031809304406, 41.83045222646986, 7.092198581560284],
}


def load(name):
    return load_metric(MetricUse(name=name), Hooks(), Path("/"))


def judge(name, pairs):
    return score(load(name), [answer for answer, _ in pairs], [{"answer": wanted} for _, wanted in pairs])


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_bleu_and_chrf_are_those_of_sacrebleu(name):
    found = judge(name, PAIRS)
    assert found.mean == pytest.approx(WHOLE[name], abs=1e-9)
    assert found.items == pytest.approx(SINGLE[name], abs=1e-9)


@pytest.mark.parametrize(("name", "theirs"), [("bleu", BLEU()), ("chrf", CHRF())])
def test_the_figure_of_any_draw_is_sacrebleus_of_those_answers(name, theirs):
    """Empty and short answers too: an interval draws corpora that have nothing in common with the whole."""
    pairs = [*PAIRS, ("", "It can."), ("xyz", "1 2 3 4"), ("It can.", "It can.")]
    metric = load(name).module
    counts = np.array([metric.counts(answer, {"answer": wanted}) for answer, wanted in pairs])
    draws = np.random.default_rng(0).integers(0, len(pairs), (300, 3))
    wanted = [
        theirs.corpus_score([pairs[i][0] for i in draw], [[pairs[i][1] for i in draw]]).score
        for draw in draws
    ]
    assert metric.statistic(counts[draws].sum(axis=1)).tolist() == pytest.approx(wanted, abs=1e-9)
    assert min(wanted) < 5 and max(wanted) > 60


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_the_ends_of_the_scale(name):
    same = judge(name, [("It can fall in value.", "It can fall in value.")])
    assert same.mean == pytest.approx(100) and same.items == pytest.approx([100])
    assert judge(name, [("", "It can."), ("xyz", "1 2 3 4")]).items == [0, 0]
    assert judge(name, [("", "It can.")]).mean == 0
    nothing = judge(name, [("It can.", "")])
    assert (nothing.mean, nothing.items) == (None, [None])


def test_bleu_counts_chinese_by_characters():
    assert judge("bleu", [("退款十四天内到账", "退款十四天内到账吧")]).mean > 80


def test_a_broken_answer_counts_as_one_without_words():
    prompts = [Prompt(str(i), [], {}, {}, str(i), wanted) for i, (_, wanted) in enumerate(PAIRS)]
    answers = [answer for answer, _ in PAIRS]
    found = score_answers(load("chrf"), answers, [True, True, True, False], prompts)
    assert found.items[3] == 0
    assert found.mean == pytest.approx(judge("chrf", [*PAIRS[:3], ("", PAIRS[3][1])]).mean)


def test_two_systems_are_compared_by_the_corpus_figure():
    prompts = [
        Prompt(str(i), [], {}, {"half": str(i % 2)}, str(i), f"It is number {i} of all.") for i in range(80)
    ]
    done = [True] * len(prompts)
    base = score_answers(load("bleu"), ["It was something else."] * len(prompts), done, prompts)
    tuned = score_answers(load("bleu"), [f"It is number {i} of some." for i in range(80)], done, prompts)
    entry = compare_metric(load("bleu"), base, tuned, prompts, Settings(0.95, 500, 0))
    assert entry is not None and entry["verdict"] == "improved" and entry["kind"] == "score"
    assert entry["tuned"]["estimate"] == pytest.approx(tuned.mean)
    assert entry["difference"]["estimate"] == pytest.approx(tuned.mean - base.mean)
    assert [part["n"] for part in entry["slices"]] == [40, 40]


def test_rouge_l_by_hand():
    cases = [("the cat sat on the mat", "the cat on a mat"), ("Don't!", "don’t"), ("", "a"), ("a", "b")]
    assert judge("rouge_l", cases).items == pytest.approx([2 * 4 / 11, 1, 0, 0])
    assert judge("rouge_l", [("可能会下跌", "可能下跌"), ("a", "...")]).items == [pytest.approx(8 / 9), None]


def test_the_longest_common_subsequence_is_the_one_found_by_trying_all():
    texts = ["", "a", "abcab", "bacbbca", "aabb", "cabac"]
    for one in texts:
        for two in texts:
            tried = {part for size in range(len(one) + 1) for part in combinations(one, size)}
            common = max(len(part) for part in tried if part in set(combinations(two, len(part))))
            assert longest_common_subsequence(one, two) == common


def test_answer_length_is_a_distance_both_ways():
    cases = [
        ("a b c d", "a b c d"),
        ("a b", "a b c d"),
        ("a b c d", "a b"),
        ("", "a"),
        ("a b c", "a"),
        ("a", ""),
    ]
    found = judge("answer_length", cases)
    assert found.items == pytest.approx([0, 0.5, 0.5, 1, 2 / 3, None])
    assert found.details[3] == ["less than half as long"] and found.details[4] == ["more than twice as long"]
    assert found.details[1] == []


def test_repetition_counts_what_was_said_before():
    assert judge("repetition", [("a b c d a b c d", ""), ("a b c", "")]).items == pytest.approx([1 / 5, 0])


@pytest.mark.slow
def test_figures_of_sums_are_reported_by_an_evaluation_and_can_pick_the_golden_checkpoint(
    project, model, tokenizer
):
    config, root, prepared, run = project
    uses = [MetricUse(name=name) for name in ("chrf", "bleu", "macro_f1", "rouge_l", "number_fidelity")]
    changed = {
        "evaluate": config.evaluate.model_copy(update={"metrics": uses}),
        "train": config.train.model_copy(update={"golden_metric": "chrf", "golden_prompts": 4}),
    }
    config = config.model_copy(update=changed)
    folder = evaluate(config, root, prepared, run, Hooks())
    scores = json.loads((folder / "scores.json").read_text())
    jsonschema.validate(scores, json_schema("scores"))
    entries = {entry["name"]: entry for entry in scores["metrics"] if entry["decoding"] == "greedy"}
    assert {"chrf", "bleu", "rouge_l"} <= set(entries)
    assert {lost["name"] for lost in scores["unscored"]} >= {"macro_f1", "number_fidelity"}  # no such rows
    assert entries["chrf"]["n"] == 24 and "sums" in entries["chrf"]["tuned"]["method"]
    assert entries["chrf"]["slices"][0]["n"] == 24
    score_of = task_scorer(config, root, prepared, Hooks())
    assert 0 <= score_of(model, tokenizer) <= 100
