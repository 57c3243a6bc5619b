"""An evaluation with everything switched on: its files keep their published schema, entry by entry."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published import file_problems, problems_of
from saved_project import RECIPE, SYSTEMS, prediction, read_lines, rescore, save_lines, save_yaml

from kit.config import load_config
from kit.evaluate.calibration_scores import FILE as CONFIDENCE
from kit.evaluate.general import load_general
from kit.evaluate.harness import answered_file
from kit.evaluate.judge import Judged, Labelled, ReadyJudge
from kit.evaluate.memorisation import MEMORISATION
from kit.hooks import load_hooks

Run = Callable[..., tuple[int, str, str]]
RUBRIC = {"question": "Does it promise a return?", "labels": ["complies", "violates"], "good": ["complies"]}
MODELS = ("calibration_error", "brier_score", "risk_coverage", "memorised_secrets", "answer_perplexity")


@pytest.fixture
def everything(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The evaluation `first`, with all that can be measured beside the answers."""
    folder, dice = project / "evaluations/first", random.Random(0)
    right = {"params": {"of": "exact_match"}}
    metrics = [*RECIPE["evaluate"]["metrics"], "exact_match", "memorised_secrets", "answer_perplexity"]
    evaluate = {
        "metrics": [*metrics, *({"name": name, **right} for name in MODELS[:3])],
        "general": [{"name": "sums", "path": "sums.jsonl", "metrics": ["final_number"]}],
        "harness": ["arc_easy"],
        "judge": {"model": "judge-9b", "base_url": "https://judge.example/v1", "rubric": RUBRIC},
    }
    save_yaml(project / "conf/project.yaml", {"evaluate": evaluate})
    sums = [{"prompt": f"What is {n} plus 2?", "completion": f"It is #### {n + 2}"} for n in range(20)]
    save_lines(project / "sums.jsonl", sums)
    config = load_config(project).config
    (asked,) = load_general(config, project, load_hooks(project))
    answers = [
        prediction(prompt.id, system, "greedy", prompt.answer if dice.random() < 0.8 else "It is #### 0")
        for system in SYSTEMS
        for prompt in asked.prompts
    ]
    lines = read_lines(folder / "predictions.jsonl")
    ids = sorted({line["id"] for line in lines})
    save_lines(folder / "predictions.jsonl", [*lines, *answers])
    read = [
        {"id": id_, "system": system, "nats": dice.uniform(1, 9), "tokens": 8, "why": ""}
        for system in SYSTEMS
        for id_ in ids
    ]
    read[0] |= {"nats": 0.0, "tokens": 0, "why": "too long"}
    for name in (CONFIDENCE, "likelihood.jsonl"):
        save_lines(folder / name, read)
    of_secret = {"kind": "email", "where": "raw.jsonl:1", "memorised": False}
    secrets = [{"id": str(n), "system": s, "group": str(n), **of_secret} for s in SYSTEMS for n in range(20)]
    save_lines(folder / MEMORISATION, secrets)
    (task,) = config.evaluate.harness
    about = {"task": task.name, "metric": "acc", "higher_is_better": True, "version": "0.4.9"}
    (folder / "harness").mkdir()
    for system in SYSTEMS:
        told = [
            {"system": system, "id": f"arc_easy:{n}", "value": float(dice.random() < 0.6), **about}
            for n in range(30)
        ]
        save_lines(answered_file(folder, task, config, system), told)
    monkeypatch.setattr("kit.evaluate.evaluate.judge_answers", judged)
    rescore(project, folder)
    return project


def judged(ready: ReadyJudge, _: Any, prompts: list[Any], *__: Any) -> Judged:
    """What a judge that is always right says of answers half of which, and a tenth, break the rule."""
    said, labelled = {}, []
    for system, share in (("base", 0.5), ("tuned", 0.1)):
        said[system] = ["violates" if n < share * len(prompts) else "complies" for n in range(len(prompts))]
        words = ["violates" if n < share * 120 else "complies" for n in range(120)]
        labelled += [Labelled(system, str(n), {}, word, word) for n, word in enumerate(words)]
    labels = ready.settings.model_copy(update={"labels": "labels.jsonl"})
    known = ReadyJudge(labels, ready.rubric, [], "")
    return Judged(ready=known, verdicts=said, pairs=[], labelled=labelled, labels_left_out=0)


def test_everything_that_is_measured_keeps_the_schema(everything: Path, casekit: Run) -> None:
    path = everything / "evaluations/first/scores.json"
    scores = json.loads(path.read_text())
    assert file_problems(path, "scores") == []
    names = [entry["name"] for entry in scores["metrics"]]
    assert set(names) >= {*MODELS, "violation_rate", "response_time"} and scores["unscored"] == []
    assert [(each["name"], each["metrics"][0]["name"]) for each in scores["general"]] == [
        ("sums", "final_number"),
        ("arc_easy", "acc"),
    ]
    for entry in (scores["judge"]["metric"], scores["judge"]["corrected"]["entry"]):
        assert problems_of("Metric", entry, "scores") == []
    casekit("report")
    report = everything / "reports/first/report.json"
    assert file_problems(report, "report") == []
    assert json.loads(report.read_text())["metrics"] == scores["metrics"]
    assert "no model makes has no confidence" in (everything / "reports/first/report.md").read_text()
