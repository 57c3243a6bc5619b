"""`casekit compare` on a project's evaluations, by id, path and run, beside files made elsewhere."""

import json
import shutil

import pytest
import yaml
from compare_samples import casekit, read, write

from kit.evaluate.evaluate import evaluate
from kit.hooks import Hooks

__all__ = ["casekit"]  # a fixture

GOOD, BAD = "It can fall in value, and nothing is guaranteed.", "It is guaranteed to grow in value."


@pytest.fixture
def evaluated(project):
    """(root, evaluation): answers put in the place of a random model's, and scored."""
    config, root, prepared, run = project
    folder = evaluate(config, root, prepared, run, Hooks())
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    for line in lines:
        place = int(line["id"], 16) % 4
        bad = place == 0 if line["system"] == "tuned" else place > 0
        line |= {"output": BAD if bad else GOOD, "finished": True}
    write(folder / "predictions.jsonl", lines)
    (folder / "scores.json").unlink()
    assert evaluate(config, root, prepared, run, Hooks()) == folder
    settings = {"evaluate": config.evaluate.model_dump(mode="json"), "data": {"slices": ["topic"]}}
    (root / "settings.yaml").write_text(yaml.safe_dump(settings))
    return root, folder


@pytest.mark.slow
def test_base_and_tuned_of_an_evaluation_give_its_own_scores(casekit, evaluated):
    root, folder = evaluated
    how = ("-p", root, "--config", root / "settings.yaml", "--out", root / "out")
    own = read(folder / "scores.json")
    for base, tuned in (
        (f"{folder.name}:base", folder.name),
        (f"{folder}:base", f"{folder}:tuned"),
        ("r1:base", "r1"),
        (f"{root / 'runs' / 'r1'}:base", root / "runs" / "r1"),
    ):
        assert casekit("compare", base, tuned, *how)[0] == 0
        found = read(root / "out" / "scores.json")
        assert found["systems"] == {"base": f"{folder.name}:base", "tuned": folder.name}
        assert [m for m in own["metrics"] if m["name"] != "response_time"] == found["metrics"]
        assert {metric["decoding"] for metric in found["metrics"]} == {"greedy", "sampled"}
        assert found["validity"] == own["validity"]
    violations = next(
        m for m in found["metrics"] if m["name"] == "violation_rate" and m["decoding"] == "greedy"
    )
    assert violations["verdict"] == "improved"
    text = (root / "out" / "report.md").read_text("utf-8")
    assert "Scores, greedy" in text and "Scores, sampled" in text and "synthetic" in text
    assert found["conditions"]["tuned"]["answers"] == f"tuned of {folder.name}"
    assert found["conditions"]["tuned"]["weights"] == own["conditions"]["tuned"]["weights"]


@pytest.mark.slow
def test_evaluations_meet_files_and_other_evaluations(casekit, evaluated):
    root, folder = evaluated
    scores = read(folder / "scores.json")
    outside = write(
        root / "outside.jsonl",
        [{"id": item["id"], "prompt": item["prompt"], "output": GOOD} for item in scores["items"]],
    )
    other = root / "evaluations" / "other"
    shutil.copytree(folder, other)
    changed = scores["conditions"]["tuned"] | {"decoding": {"max_new_tokens": 99}}
    conditions = scores["conditions"] | {"tuned": changed}
    (other / "scores.json").write_text(json.dumps(scores | {"conditions": conditions}))
    how = ("-p", root, "--config", root / "settings.yaml", "--out", root / "out")

    code, _, warned = casekit("compare", folder.name, "other", outside, *how)

    assert code == 0 and "differ in the decoding" in warned
    report = read(root / "out" / "report.json")
    assert [pair["system"] for pair in report["pairs"]] == ["other", "outside"]
    same, better = (
        {metric["name"]: metric for metric in pair["metrics"]}["violation_rate"] for pair in report["pairs"]
    )
    assert same["difference"]["estimate"] == 0 and better["tuned"]["estimate"] == 0
    decodings = {metric["decoding"] for pair in report["pairs"] for metric in pair["metrics"]}
    assert decodings == {"greedy"}, "only what every system has is compared"

    rows = [json.loads(line) for line in outside.read_text().splitlines()]
    write(outside, [{**row, "prompt": "Something else?"} for row in rows])
    code, _, said = casekit("compare", folder.name, outside, *how)
    assert code == 4 and "24 ids differ so" in said


@pytest.mark.slow
def test_what_is_no_evaluation_any_more_is_told(casekit, evaluated):
    root, folder = evaluated
    how = ("-p", root, "--config", root / "settings.yaml", "--out", root / "out")
    code, _, said = casekit("compare", folder.name, "r2", *how)
    assert code == 2 and folder.name in said and "r2" in said
    (root / "runs" / "r2").mkdir()
    (root / "runs" / "r2" / "manifest.json").write_text("{}")
    code, _, said = casekit("compare", folder.name, "r2", *how)
    assert code == 2 and "the run was not evaluated" in said
    answers = folder / "predictions.jsonl"
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[:-1]))
    code, _, said = casekit("compare", f"{folder.name}:base", folder.name, *how)
    assert code == 4 and "has no answer" in said
    shutil.rmtree(root / "data")
    code, _, said = casekit("compare", f"{folder.name}:base", folder.name, *how)
    assert code == 2 and "no such split" in said
