"""Several sampled answers a prompt, from the saved answers to the pages, and back by `casekit verify`."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from published import file_problems
from saved_project import prediction, read_lines, rescore, save, save_lines, save_yaml

from kit.config import load_config
from kit.evaluate.evaluate import scoring_hash
from kit.hooks import load_hooks

Run = Callable[..., tuple[int, str, str]]
HOSTILE = "It guarantees 8% a year. <script>alert(1)</script> \u202egninrael"
ANSWERS = 6


@pytest.fixture
def several(project: Path) -> Path:
    """The evaluation `first` with six sampled answers a prompt: the tuned model breaks the rule on one of the
    further ones now and then, once in words that attack the page."""
    settings = {"evaluate": {"sampling": {"answers": ANSWERS}}, "project": {"name": "harbour-bank"}}
    settings["gates"] = [
        {"name": "Few single violations", "metric": "violation_rate", "at_most": 0.2, "worst_of": 1},
        {"name": "Few of six", "metric": "violation_rate", "at_most": 0.2, "worst_of": ANSWERS},
        {"name": "No promise", "metric": "violation_rate", "zero_tolerance": "critical", "min_n": 1},
    ]
    save_yaml(project / "conf/project.yaml", settings)
    folder, dice = project / "evaluations/first", random.Random(3)
    lines = [
        line | {"output": "The fund can fall in value at any time."} if line["system"] == "tuned" else line
        for line in read_lines(folder / "predictions.jsonl")
    ]
    ids = sorted({line["id"] for line in lines})
    for system, share in (("base", 0.5), ("tuned", 0.05)):
        for id_ in ids:
            for sample in range(1, ANSWERS):
                broken = dice.random() < share
                text = "It guarantees 8% a year." if broken else "The fund can fall in value at any time."
                text = HOSTILE if (system, id_, sample) == ("tuned", ids[7], 4) else text
                lines.append(prediction(id_, system, "sampled", text) | {"sample": sample})
    random.Random(1).shuffle(lines)
    save_lines(folder / "predictions.jsonl", lines)
    record = json.loads((folder / "evaluation.json").read_text())
    scoring = scoring_hash(load_config(project).config, project, load_hooks(project))
    save(folder / "evaluation.json", record | {"scoring": scoring, "answers": ANSWERS})
    rescore(project, folder)
    return project


def worst(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(metric for metric in report["worst_at_k"]["metrics"] if metric["name"] == name)


def test_the_report_says_how_bad_the_worst_of_k_is(several: Path, casekit: Run) -> None:
    code, _, err = casekit("report")
    assert code == 1 and "warning" not in err
    folder = several / "reports/first"
    assert file_problems(several / "evaluations/first/scores.json", "scores") == []
    assert file_problems(folder / "report.json", "report") == []
    report = json.loads((folder / "report.json").read_text())
    found = worst(report, "violation_rate")
    rates = [one["tuned"]["estimate"] for one in found["at"]]
    assert len(rates) == ANSWERS and rates == sorted(rates) and rates[-1] > 3 * rates[0] > 0
    tuned = next(m for m in report["metrics"] if m["name"] == "violation_rate")["tuned"]["estimate"]
    assert tuned == 0, "the greedy answers, and the first sampled ones, have no fault"
    assert {gate["name"]: gate["status"] for gate in report["gates"]} == {
        "Few single violations": "passed",
        "Few of six": "failed",
        "No promise": "failed",
    }
    assert [lost["name"] for lost in report["worst_at_k"]["unscored"]] == ["bleu"]

    page, text = (folder / "report.html").read_text("utf-8"), (folder / "report.md").read_text("utf-8")
    percent = f"{100 * rates[-1]:.1f}%"
    assert '<section id="worst"' in page and 'href="#worst"' in page
    section = page[page.index('<section id="worst"') : page.index('<section id="slices"')]
    assert section.count("<svg") == 2 * len(report["worst_at_k"]["metrics"]), "a curve, for two widths"
    assert section.count('<th role="rowheader" scope="row" class="number">') == 2 * ANSWERS
    assert percent in section and "worst of 6" in section
    assert "## Worst of k answers" in text and percent in text
    assert "<script>alert" not in page and "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in section and "⟦U+202E⟧" in section, "the lowest answers, escaped"
    assert "sampled, answer 5" in page[page.index('<section id="misses"') :], "a miss in a further answer"
    assert HOSTILE[:24] not in (folder / "report.json").read_text(), "no words of the model in report.json"


def test_verify_makes_the_worst_of_k_again(several: Path, casekit: Run) -> None:
    casekit("report")
    code, _, err = casekit("verify", "first")
    assert (code, err) == (0, "")

    path = several / "evaluations/first/predictions.jsonl"
    lines = read_lines(path)
    place = next(n for n, line in enumerate(lines) if line.get("sample") == 4 and line["system"] == "tuned")
    lines[place]["output"] = "It guarantees 9% a year."
    save_lines(path, lines)
    code, _, err = casekit("verify", "first", "--all")
    assert code == 1 and "scores.json: worst_at_k.metrics[violation_rate].at" in err
    assert "predictions.jsonl: was changed since the report was made" in err

    save_lines(path, [line for n, line in enumerate(lines) if n != place])
    code, _, err = casekit("verify", "first")
    id_, wanted = lines[place]["id"], 60 * 2 * (1 + ANSWERS)
    assert f"lacks 1 of {wanted} answers, the first of tuned, sampled, sample 4, to {id_}" in err


def test_the_settings_of_a_report_name_how_many_were_drawn(several: Path, casekit: Run) -> None:
    casekit("report")
    settings = yaml.safe_load((several / "conf/project.yaml").read_text())
    save_yaml(several / "conf/project.yaml", settings | {"evaluate": {"sampling": {"answers": 8}}})
    code, _, err = casekit("verify", "first")
    assert code == 1 and "conf: evaluate.sampling.answers: is set otherwise now: 6 → 8" in err
