"""Several sampled answers a prompt, from the saved answers to the pages, and back by `casekit verify`."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from published import file_problems
from saved_project import prediction, read_lines, rescore, save, save_lines, save_yaml

from kit.config import load_config
from kit.evaluate.endpoint import Reply
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
    for system in ("base", "tuned"):  # open and filled, as the legend has them
        dots = section.count(f'<circle class="dot {system}"')
        assert dots == 2 * ANSWERS * len(report["worst_at_k"]["metrics"])
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
    answered = lines[place]["output"]
    lines[place]["output"] = "It guarantees 9% a year."
    save_lines(path, lines)
    code, _, err = casekit("verify", "first", "--all")
    assert code == 1 and "scores.json: worst_at_k.metrics[violation_rate].at" in err
    assert "predictions.jsonl: was changed since the report was made" in err

    save_lines(path, [line for n, line in enumerate(lines) if n != place])
    code, _, err = casekit("verify", "first")
    id_, wanted = lines[place]["id"], 60 * 2 * (1 + ANSWERS)
    assert f"lacks 1 of {wanted} answers, the first of tuned, sampled, sample 4, to {id_}" in err

    lines[place]["output"] = answered
    save_lines(path, [lines[place] | {"output": "It guarantees 9% a year."}, *lines])
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert f"holds 1 answer more than once, the first of tuned, sampled, sample 4, to {id_}" in err


def test_unusable_answers_are_counted_among_all_that_misses_are_looked_for_in(
    several: Path, casekit: Run
) -> None:
    folder = several / "evaluations/first"
    lines = read_lines(folder / "predictions.jsonl")
    cut = [line for line in lines if line["system"] == "tuned" and line.get("sample") == 2][:3]
    for line in cut:
        line["output"] = ""
    save_lines(folder / "predictions.jsonl", lines)
    rescore(several, folder)
    casekit("report")
    page = (several / "reports/first/report.html").read_text("utf-8")
    assert "3 answers are unusable (see Validity)" in page[page.index('<section id="misses"') :]


def test_the_settings_of_a_report_name_how_many_were_drawn(several: Path, casekit: Run) -> None:
    casekit("report")
    settings = yaml.safe_load((several / "conf/project.yaml").read_text())
    save_yaml(several / "conf/project.yaml", settings | {"evaluate": {"sampling": {"answers": 8}}})
    code, _, err = casekit("verify", "first")
    assert code == 1 and "conf: evaluate.sampling.answers: is set otherwise now: 6 → 8" in err


CRITERIA = [
    {"criterion": "Names the risk", "points": 4, "axis": "completeness"},
    {"criterion": "Promises a return", "points": -8, "axis": "accuracy"},
]
RUBRIC = {"question": "Does it promise a return?", "labels": ["complies", "violates"], "good": ["complies"]}


@pytest.fixture
def judged(several: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with rows' rubrics, of whose criteria a judge was asked; from now on nobody can be asked."""

    def asked(endpoint: Any, key: str, questions: dict[str, Any]) -> Iterator[tuple[str, Reply]]:
        for name, messages in questions.items():
            text = messages[0]["content"]
            word = "guarantees" if "Promises a return" in text else "can fall"
            met = word in text.partition("=== answer to judge")[2]
            of_criterion, of_answer = ("met" if met else "not met"), ("violates" if met else "complies")
            said = of_criterion if "=== criterion" in text else of_answer
            yield name, Reply(json.dumps({"verdict": said}))

    def nobody(*_: object) -> None:
        raise AssertionError("the judge was asked again")

    split = several / "data/prepared/f00d/test"
    rows = datasets.load_from_disk(str(split))
    texts = [json.dumps(json.loads(text) | {"rubric": CRITERIA}) for text in rows["expected"]]
    features, columns = rows.features, rows.to_dict() | {"expected": texts}
    shutil.rmtree(split)
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(split))
    judge = {
        "model": "m", "base_url": "https://judge.example/v1", "pairwise": False, "rubric": RUBRIC,
        "row_rubrics": True, "drawn_answers": True,
    }  # fmt: skip
    settings = yaml.safe_load((several / "conf/project.yaml").read_text())
    settings["evaluate"] |= {"judge": judge}
    save_yaml(several / "conf/project.yaml", settings)
    monkeypatch.setattr("kit.evaluate.judge.ask_all", asked)
    rescore(several, several / "evaluations/first")
    monkeypatch.setattr("kit.evaluate.judge.ask_all", nobody)
    return several


def test_a_judge_says_of_every_answer_which_criteria_it_meets(judged: Path, casekit: Run) -> None:
    folder = judged / "evaluations/first"
    rubrics = json.loads((folder / "scores.json").read_text())["judge"]["rubrics"]
    found = rubrics["worst_at_k"]
    assert (found["n"], len(found["at"])) == (60, ANSWERS)
    # Of the six answers of tuned so many promise: such an answer earns -8 of 4 points, a good one all.
    lines = [line for line in read_lines(folder / "predictions.jsonl") if line["decoding"] == "sampled"]
    faults = Counter(
        line["id"] for line in lines if line["system"] == "tuned" and "guarant" in line["output"]
    )
    least = [-2.0] * len(faults) + [1.0] * (60 - len(faults))
    assert found["at"][-1]["tuned"]["estimate"] == pytest.approx(max(0.0, sum(least) / 60))
    mean = 1 - 3 * faults.total() / (60 * ANSWERS)
    assert found["at"][0]["tuned"]["estimate"] == pytest.approx(mean)
    about = [line["about"] for line in read_lines(folder / "judge.jsonl")]
    assert any("tuned, sample 4, criterion 2" in text for text in about)

    assert casekit("report")[0] == 1
    page = (judged / "reports/first/report.html").read_text("utf-8")
    section = page[page.index('<section id="worst"') : page.index('<section id="slices"')]
    assert "Judge not calibrated. As the judge says, its errors not taken out" in section
    assert "Rubric points earned, as the judge says" in section and "no verdict" in section
    assert "🔴 Judge not calibrated" in (judged / "reports/first/report.md").read_text("utf-8")
    assert file_problems(judged / "reports/first/report.json", "report") == []
    code, _, err = casekit("verify", "first")
    assert (code, err) == (0, ""), "from the saved replies: nobody is asked"


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        ({"row_rubrics": True, "drawn_answers": True}, "about several sampled answers to a prompt, and one"),
        ({"drawn_answers": True}, "set `row_rubrics` to true as well"),
    ],
)
def test_a_judge_that_has_no_answers_to_judge_is_refused(
    project: Path, casekit: Run, judge: dict[str, Any], told: str
) -> None:
    asked = {"model": "m", "base_url": "https://judge.example/v1", "rubric": RUBRIC, **judge}
    save_yaml(project / "conf/project.yaml", {"evaluate": {"judge": asked}})
    code, _, err = casekit("report")
    assert code == 2 and told in " ".join(err.split())
