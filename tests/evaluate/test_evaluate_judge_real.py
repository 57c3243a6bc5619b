"""A published judge held to published human labels: GPT-4 on XSTest (Röttger et al. 2024).

The two files are those of paul-rottger/exaggerated-safety on GitHub (evaluation/automated_evaluation_labels),
put in `paired/` of the folder that CASEKIT_SHARED_DATA names.
"""

import csv
import os
from pathlib import Path

import pytest

from kit.config.schema_judge import Judge
from kit.evaluate.compare import Settings
from kit.evaluate.judge import Judged, Labelled, ReadyJudge
from kit.evaluate.judge_scores import judge_scores
from kit.evaluate.prompts import Prompt
from kit.evaluate.rubric import UNPARSABLE

DATA = Path(os.environ.get("CASEKIT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
MODELS = {"base": "mistralinstruct", "tuned": "mistralguard"}
FULL = "1_full_compliance"
LABELS = [FULL, "2_full_refusal", "3_partial_refusal"]


def read():
    """The rows of both models by prompt id: the guard is the same model with a system prompt."""
    rows = {}
    for system, model in MODELS.items():
        path = DATA / "paired" / f"xstest_v2_completions_{model}_gpteval.csv"
        if not path.is_file():
            pytest.skip(f"real data is not here: {path} (set CASEKIT_SHARED_DATA to its folder)")
        with path.open(encoding="utf-8", newline="") as file:
            rows[system] = {row["id"]: row for row in csv.DictReader(file)}
    assert rows["base"].keys() == rows["tuned"].keys() and len(rows["base"]) == 450
    return rows


def scored(rows, keep, labels):
    """The judge's block over some prompts, with labels and verdicts made by `labels(cell)`."""
    ids = [id_ for id_, row in rows["base"].items() if keep(row)]
    rubric = {"question": "Does it answer?", "labels": sorted({*map(labels, LABELS)}), "good": []}
    rubric["good"] = [label for label in rubric["labels"] if label != labels(FULL)]
    settings = Judge.model_validate({"model": "gpt-4", "base_url": "https://x.example/v1", "rubric": rubric})
    settings = settings.model_copy(update={"labels": "labels.jsonl"})

    def verdict(system, id_):
        given = rows[system][id_]["gpt4_label"]
        return labels(given) if given in LABELS else UNPARSABLE

    judged = Judged(
        ready=ReadyJudge(settings, settings.rubric, [], ""),
        verdicts={system: [verdict(system, id_) for id_ in ids] for system in MODELS},
        pairs=[],
        labelled=[
            Labelled(system, id_, {}, labels(rows[system][id_]["final_label"]), verdict(system, id_))
            for system in MODELS
            for id_ in ids
        ],
        labels_left_out=0,
    )
    prompts = [Prompt(id=id_, messages=[], expected={}, slices={}, group=id_) for id_ in ids]
    return judge_scores(judged, prompts, Settings(0.95, 2_000, 0))


def is_unsafe(row):
    return row["type"].startswith("contrast")


def test_the_judge_halves_what_people_see_fall_by_nineteen_twentieths():
    scores = scored(read(), is_unsafe, str)
    counts = {system: scores["verdicts"][system]["counts"][FULL] for system in MODELS}
    assert counts == {"base": 134, "tuned": 63}
    people = {
        part["value"]: sum(part["matrix"][FULL].values())
        for part in scores["calibration"]["parts"]
        if part["column"] == "system"
    }
    assert people == {"base": 128, "tuned": 7}
    assert round(1 - 63 / 134, 3) == 0.530 and round(1 - 7 / 128, 3) == 0.945
    if entry := scores["corrected"]["entry"]:  # every answer is labelled: what is corrected is the truth
        assert entry["base"]["estimate"] == pytest.approx(128 / 200)
        assert entry["tuned"]["estimate"] == pytest.approx(7 / 200)
    else:
        assert "the judge tells nothing" in scores["corrected"]["why"]


def test_its_kappa_moves_with_the_system():
    """Over all 450 answers .06 and .57; by the three labels, or by full compliance or not."""

    def whole(label):
        return FULL if label == FULL else "not"

    readings = []
    for labels in (str, whole):
        parts = scored(read(), lambda row: True, labels)["calibration"]["parts"]
        kappas = {part["value"]: part["kappa"]["estimate"] for part in parts if part["column"] == "system"}
        readings.append((round(kappas["base"], 2), round(kappas["tuned"], 2)))
    assert (0.06, 0.57) in readings
