"""`casekit report --baseline`: a regression beyond tolerance fails, and nothing else is called one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from saved_project import POLICY, RECIPE, add_evaluation, read_lines, rescore, save_rows, save_yaml

from kit.evaluate.baseline import Tolerance, compare_with_baseline
from kit.evaluate.compare import Settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def released(project: Path, casekit: Run) -> Path:
    """A project whose first report was released."""
    assert casekit("report")[0] == 0
    return project


def report(project: Path, name: str) -> dict[str, Any]:
    found = json.loads((project / "reports" / name / "report.json").read_text())
    assert isinstance(found, dict)
    return found


def changes(project: Path, name: str) -> dict[str, dict[str, Any]]:
    return {change["name"]: change for change in report(project, name)["baseline"]["metrics"]}


def test_a_regression_fails_and_says_which_metric(released: Path, casekit: Run) -> None:
    save_yaml(released / "conf/project.yaml", {"gates": [{**RECIPE["gates"][0], "at_most": 0.9}]})
    add_evaluation(released, "second", faults=0.5, seed=2)
    code, out, _ = casekit("report", "--evaluation", "second", "--baseline", "first")
    assert code == 1
    found = report(released, "second")
    assert found["verdict"]["exit_code"] == 1
    assert (
        "1 of 1 metrics regressed beyond tolerance against the released first" in found["verdict"]["sentence"]
    )
    assert "All 1 gates passed." in found["verdict"]["sentence"]
    assert "violation_rate" in found["verdict"]["sentence"].rpartition(":")[2]
    assert "regressed beyond tolerance" in " ".join(out.split())
    change = changes(released, "second")["violation_rate"]
    then = report(released, "first")["metrics"][0]["tuned"]["estimate"]
    assert change["then"] == pytest.approx(then)
    assert change["now"] == pytest.approx(found["metrics"][0]["tuned"]["estimate"])
    assert change["difference"]["estimate"] == pytest.approx(change["now"] - change["then"])
    assert change["difference"]["low"] > 0 and change["n"] == 60
    for name in ("report.html", "report.md"):
        page = (released / "reports/second" / name).read_text()
        assert "Against the last release" in page and "regressed" in page


def test_the_same_answers_are_no_regression(released: Path, casekit: Run) -> None:
    add_evaluation(released, "second", faults=0.05, seed=1)
    assert casekit("report", "--evaluation", "second", "--baseline", "first")[0] == 0
    for change in changes(released, "second").values():
        if change["status"] != "not compared":
            assert change["then"] == change["now"] and change["difference"]["estimate"] == 0
    assert "No regression beyond tolerance is shown" in report(released, "second")["verdict"]["sentence"]


def test_an_improvement_is_no_regression(released: Path, casekit: Run) -> None:
    add_evaluation(released, "second", faults=0.0, seed=2)
    assert casekit("report", "--evaluation", "second", "--baseline", "first")[0] == 0


def test_the_settings_name_the_released_report_and_tolerances(released: Path, casekit: Run) -> None:
    gates = [{**RECIPE["gates"][0], "at_most": 0.9}]
    add_evaluation(released, "second", faults=0.5, seed=2)
    save_yaml(released / "conf/project.yaml", {"gates": gates, "report": {"baseline": "first"}})
    assert casekit("report")[0] == 1
    assert casekit("report", "report.tolerance=0.9")[0] == 0
    assert changes(released, "second")["violation_rate"]["why"] == "the loss is within the tolerance"
    assert casekit("report", "report.tolerances={violation_rate: 0.9}")[0] == 0
    assert casekit("report", "report.tolerances={violation_rat: 0.9}")[0] == 2
    assert casekit("report", "report.baseline=null")[0] == 0
    assert report(released, "second")["baseline"] is None
    earlier = [verdict["status"] for verdict in report(released, "second")["earlier"]]
    assert earlier[0] == "failed", "a verdict cannot be made to pass unseen by leaving the baseline out"
    page = (released / "reports/second/report.md").read_text()
    assert "by other baseline" in page


def test_a_score_decides_only_with_a_tolerance_of_its_own(released: Path, casekit: Run) -> None:
    """Metrics made from sums too are paired: their counts are kept."""
    save_yaml(released / "conf/project.yaml", {"gates": [{**RECIPE["gates"][0], "at_most": 0.9}]})
    add_evaluation(released, "second", faults=0.5, seed=2)
    words = ("report", "--evaluation", "second", "--baseline", "first", "report.tolerance=0.9")
    assert casekit(*words)[0] == 0
    found = changes(released, "second")
    assert found["bleu"]["tolerance"] is None
    assert found["bleu"]["now"] < found["bleu"]["then"] - 5
    assert found["bleu"]["why"] == "a score without a tolerance of its own decides nothing"
    assert casekit(*words, "report.tolerances={bleu: 1.0}")[0] == 1
    assert changes(released, "second")["bleu"]["status"] == "regressed"


def test_a_folder_elsewhere_is_a_baseline_too(released: Path, casekit: Run, tmp_path: Path) -> None:
    """What was committed needs neither the evaluation nor the run it came from."""
    shutil.move(released / "reports/first", tmp_path / "v1")
    shutil.rmtree(released / "evaluations/first")
    add_evaluation(released, "second", faults=0.05, seed=1)
    assert casekit("report", "--baseline", str(tmp_path / "v1"))[0] == 0
    assert changes(released, "second")["violation_rate"]["status"] == "not shown"


def test_other_data_is_refused(released: Path, casekit: Run) -> None:
    split = released / "data/prepared/f00d/test"
    shutil.rmtree(split)
    save_rows(split, range(100, 160))
    add_evaluation(released, "second", faults=0.05)
    code, _, err = casekit("report", "--evaluation", "second", "--baseline", "first")
    assert code == 4
    assert "none of its 60 prompts is among the 60 of now" in err
    assert "report.baseline=null" in err
    assert not (released / "reports/second").exists()


def test_shared_prompts_alone_are_compared(released: Path, casekit: Run) -> None:
    split = released / "data/prepared/f00d/test"
    shutil.rmtree(split)
    save_rows(split, range(20, 100))
    add_evaluation(released, "second", faults=0.05)
    assert casekit("report", "--evaluation", "second", "--baseline", "first")[0] == 0
    found = report(released, "second")["baseline"]
    assert (found["shared"], found["prompts"], found["baseline_prompts"]) == (40, 80, 60)
    assert changes(released, "second")["violation_rate"]["n"] == 40
    assert "40 of 80 prompts; the baseline asked 60" in (released / "reports/second/report.md").read_text()


def test_too_few_shared_prompts_are_no_evidence(released: Path, casekit: Run) -> None:
    split = released / "data/prepared/f00d/test"
    shutil.rmtree(split)
    save_rows(split, range(56, 120))
    add_evaluation(released, "second", faults=0.05)
    assert casekit("report", "--evaluation", "second", "--baseline", "first")[0] == 3
    assert "too few to show a regression" in report(released, "second")["verdict"]["sentence"]


def test_another_definition_is_not_compared(released: Path, casekit: Run) -> None:
    """Under another policy the same words score otherwise: no loss and no gain of the model."""
    policy = POLICY.replace(r"['\bguarantee']", r"['\bguarantee', 'fall']")
    (released / "conf/policy.yaml").write_text(policy)
    add_evaluation(released, "second", faults=0.05, seed=1)
    code, _, _ = casekit("report", "--evaluation", "second", "--baseline", "first")
    found = changes(released, "second")["violation_rate"]
    assert found["status"] == "not compared" and "definition is another" in found["why"]
    assert changes(released, "second")["token_f1"]["status"] == "no regression"
    assert code == 1, "a gate fails; and no rate was left to compare"
    assert "no rate was comparable" in report(released, "second")["verdict"]["sentence"]
    casekit("report", "--baseline", "first", "report.tolerances={bleu: 1.0}")
    sentence = report(released, "second")["verdict"]["sentence"]
    assert (
        "No regression beyond tolerance is shown" in sentence and "Not compared: violation_rate." in sentence
    )


def test_no_metric_in_common_is_refused(released: Path, casekit: Run) -> None:
    metrics = ["exact_match"]
    gates = [{"name": "Right", "metric": "exact_match", "at_least": 0.0}]
    save_yaml(released / "conf/project.yaml", {"evaluate": {"metrics": metrics}, "gates": gates})
    add_evaluation(released, "second", faults=0.05)
    code, _, err = casekit("report", "--evaluation", "second", "--baseline", "first")
    assert code == 4
    assert "exact_match: the baseline did not measure it" in err
    assert "token_f1: it is no longer measured" in err


def test_baselines_that_cannot_be_used(released: Path, casekit: Run) -> None:
    assert casekit("report", "--baseline", "first")[0] == 2, "no report is its own baseline"
    save_yaml(released / "conf/project.yaml", {"report": {"baseline": "first"}})
    assert casekit("report")[0] == 0, "but once it is released, it can be written again"
    code, _, err = casekit("report", "--baseline", "zeroth")
    assert code == 2 and "no report 'zeroth'" in err and "first" in err

    add_evaluation(released, "second", faults=0.05)
    path = released / "reports/first/report.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    code, _, err = casekit("report", "--evaluation", "second")
    assert code == 2 and "found schema 2, expected 4" in err
    (released / "reports/first/items.jsonl").unlink()
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 4}))
    code, _, err = casekit("report", "--evaluation", "second")
    assert code == 2 and "items.jsonl" in err


def test_what_was_asked_otherwise_is_said(released: Path, casekit: Run) -> None:
    folder = add_evaluation(released, "second", faults=0.05)
    rescore(released, folder)
    scores = json.loads((folder / "scores.json").read_text())
    scores["conditions"]["tuned"]["system_prompt"] = "other"
    (folder / "scores.json").write_text(json.dumps(scores))
    assert casekit("report", "--evaluation", "second", "--baseline", "first")[0] == 0
    assert report(released, "second")["baseline"]["conditions"] == ["system prompt"]
    assert "Not asked alike: system prompt." in (released / "reports/second/report.md").read_text()


def test_items_hold_no_text(released: Path) -> None:
    """A released report's items can be shared where answers cannot."""
    text = (released / "reports/first/items.jsonl").read_text()
    assert "guarantees" not in text and "fund" not in text
    assert len(read_lines(released / "reports/first/items.jsonl")) == 60


@pytest.mark.parametrize(
    ("then", "now", "tolerance", "status", "why"),
    [
        (0, 0, 0.02, "not shown", "a loss beyond the tolerance is not ruled out"),
        (0, 0, 0.10, "no regression", ""),
        (0, 20, 0.02, "regressed", ""),
        (0, 20, 0.30, "worse", "the loss is within the tolerance"),
        (20, 0, 0.02, "no regression", ""),
        (0, 3, 0.02, "not shown", "a loss beyond the tolerance is not ruled out"),
    ],
)
def test_when_a_rate_has_regressed(then: int, now: int, tolerance: float, status: str, why: str) -> None:
    """100 prompts, lower is better: of so many the tuned model failed then and now."""

    def items(faults: int) -> list[dict[str, Any]]:
        return [
            {"id": str(n), "group": str(n), "greedy": {"tuned": {"scores": {"v": float(n < faults)}}}}
            for n in range(100)
        ]

    metric = {
        "name": "v", "label": "V", "kind": "rate", "higher_is_better": False, "decoding": "greedy",
        "ratio": None, "of_sums": False,
    }  # fmt: skip
    shared = {"metrics": [metric], "definitions": {"v": "1"}, "conditions": {"tuned": {}}, "evaluation": "e"}
    found = compare_with_baseline(
        {**shared, "items": items(now)},
        shared,
        items(then),
        Tolerance(tolerance, {}),
        Settings(0.95, 200, 1),
        {},
    )
    (change,) = found.metrics
    assert (change.status, change.why) == (status, why)
    assert found.status == ("regressed" if status == "regressed" else "held")
    assert change.difference is not None
    assert change.difference["estimate"] == pytest.approx((now - then) / 100)
