"""`casekit verify`: a report is true, or what differs is named, from what to what."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from saved_project import RECIPE, RUN, add_evaluation, read_lines, rescore, save_lines, save_rows, save_yaml

from kit.cli_report import find_report
from kit.evaluate.endpoint import Reply

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def reported(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved project with its report written."""
    from kit import pipeline
    from kit.config import load_config

    folder = tmp_path_factory.mktemp("reported") / "bank"
    shutil.copytree(saved, folder)
    pipeline.report(load_config(folder))
    return folder


@pytest.fixture
def bank(reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a report of its own, at the place where commands are typed."""
    shutil.copytree(reported, tmp_path / "bank")
    monkeypatch.chdir(tmp_path / "bank")
    return tmp_path / "bank"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("word", ["first", "reports/first", "reports/first/"])
def test_a_report_as_it_was_written_is_true(word: str, bank: Path, casekit: Run) -> None:
    before = {path: path.read_bytes() for path in bank.rglob("*") if path.is_file()}
    code, out, err = casekit("verify", word)
    assert (code, err) == (0, "")
    assert out.startswith("true ")
    after = {path: path.read_bytes() for path in bank.rglob("*") if path.is_file()}
    assert after == before, "verifying writes nothing"


def test_without_a_name_the_last_report_is_verified_and_named(bank: Path, casekit: Run) -> None:
    for words in ((), ("report.tolerance=0.02",)):
        code, out, err = casekit("verify", *words)
        assert code == 0 and out.startswith("true "), err
        assert err == "the last report, first\n"
    code, _, err = casekit("verify", "first", "second")
    assert code == 2 and "more than one report is named: first, second" in err
    shutil.rmtree("reports")
    code, _, err = casekit("verify")
    assert code == 2 and "make one with `casekit report`" in err


def test_an_edited_number_of_the_json_is_named(bank: Path, casekit: Run) -> None:
    path = bank / "reports/first/report.json"
    report = json.loads(path.read_text())
    true = report["metrics"][0]["tuned"]["estimate"]
    report["metrics"][0]["tuned"]["estimate"] = 0.001
    path.write_text(json.dumps(report, indent=2))
    code, _, err = casekit("verify", "first")
    assert code == 1
    (line,) = err.splitlines()
    assert "report.json: metrics[violation_rate, greedy].tuned.estimate" in line
    assert line.endswith(f"0.001 → {true:.6g}")


def test_a_metric_that_was_added_is_told_by_its_name_and_moves_no_other(bank: Path, casekit: Run) -> None:
    path = bank / "reports/first/report.json"
    report = json.loads(path.read_text())
    report["metrics"].insert(0, {**report["metrics"][0], "name": "invented"})
    path.write_text(json.dumps(report, indent=2))
    code, _, err = casekit("verify", "first")
    assert code == 1
    (line,) = err.splitlines()
    assert line.startswith("differs  report.json: metrics[invented, greedy]: ") and line.endswith("→ nothing")


def test_entries_in_another_order_are_told_as_such(bank: Path, casekit: Run) -> None:
    path = bank / "reports/first/report.json"
    report = json.loads(path.read_text())
    report["metrics"].reverse()
    path.write_text(json.dumps(report, indent=2))
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert [line.partition(": is not")[0] for line in err.splitlines()] == [
        "differs  report.json: metrics: order"
    ]


def test_other_weights_than_those_that_answered_are_told(bank: Path, casekit: Run) -> None:
    """Where the tuned weights are there; elsewhere a report is verified without them."""
    from kit.models.loading import weights_sha256

    golden = bank / "runs" / RUN / "golden"
    golden.mkdir(exist_ok=True)
    (golden / "model.safetensors").write_bytes(b"the weights that answered")
    path = bank / "evaluations/first/scores.json"
    scores = json.loads(path.read_text())
    scores["conditions"]["tuned"]["weights"] = weights_sha256(golden)[:16]
    path.write_text(json.dumps(scores))
    assert casekit("report")[0] == 0
    assert casekit("verify", "first")[::2] == (0, "")
    (golden / "model.safetensors").write_bytes(b"others")
    code, _, err = casekit("verify", "first")
    assert code == 1 and f"{RUN}/golden: holds other weights than those that answered" in err


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("report.html", "6.7%", "0.7%"),
        ("report.md", "6.7%", "0.7%"),
        ("MODEL_CARD.md", "6.7%", "0.7%"),
        ("DATA_CARD.md", "1,188", "9,188"),
        ("junit.xml", "6.7%", "0.7%"),
        ("items.jsonl", '"violation_rate": 1.0', '"violation_rate": 0.0'),
    ],
)
def test_an_edited_page_is_named_with_its_line(
    name: str, old: str, new: str, bank: Path, casekit: Run
) -> None:
    path = bank / "reports/first" / name
    edit(path, old, new)
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert f"{name}: is not the file that report.json records" in err
    shown = next(line for line in err.splitlines() if line.startswith(f"differs  {name}:") and new in line)
    assert old in shown.partition("→")[2]

    # Whoever edits the recorded hash too is found out all the same.
    from kit.files import sha256_file

    report = json.loads((bank / "reports/first/report.json").read_text())
    report["faces"][name] = sha256_file(path)
    (bank / "reports/first/report.json").write_text(json.dumps(report, indent=2))
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "records" not in err
    assert new in err


def test_an_edited_answer_shows_the_scores_and_gates_it_changes(bank: Path, casekit: Run) -> None:
    path = bank / "evaluations/first/predictions.jsonl"
    lines = read_lines(path)
    for line in lines:
        if line["system"] == "tuned" and line["decoding"] == "greedy":
            line["output"] = "It guarantees 8% a year."
    save_lines(path, lines)
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "evaluations/first/predictions.jsonl: was changed since the report was made" in err
    assert "gate Few violations: comes out otherwise on the answers that are saved: passed → failed" in err
    assert "scores.json: metrics[violation_rate, greedy].tuned.estimate" in err
    assert "more; --all lists every one" in err
    everything = casekit("verify", "first", "--all")[2]
    assert len(everything.splitlines()) > len(err.splitlines())


def test_an_answer_taken_away_or_cut_is_told(bank: Path, casekit: Run) -> None:
    path = bank / "evaluations/first/predictions.jsonl"
    text = path.read_text()
    path.write_text(text[: text.rindex("{")])
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "predictions.jsonl: lacks 1 of 240 answers, the first of tuned, sampled, to " in err

    path.write_text(text[:-20])
    cut = path.read_bytes()
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "ends in the middle of a line" in err
    assert path.read_bytes() == cut, "what is evidence is not mended"


def test_edited_times_are_found(bank: Path, casekit: Run) -> None:
    path = bank / "evaluations/first/latency.jsonl"
    save_lines(path, [{**line, "seconds": line["seconds"] * 2} for line in read_lines(path)])
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "evaluations/first/latency.jsonl: was changed" in err
    assert "scores.json: latency.base.seconds.p50" in err


def test_edited_scores_do_not_follow_from_the_answers(bank: Path, casekit: Run) -> None:
    """Even where report and scores agree, because the report was made anew from edited scores."""
    path = bank / "evaluations/first/scores.json"
    scores = json.loads(path.read_text())
    scores["metrics"][0]["tuned"]["estimate"] = 0.0
    path.write_text(json.dumps(scores))
    assert casekit("report")[0] == 0
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "metrics[violation_rate, greedy].tuned.estimate" in err
    assert "differs  report.json" not in err


def test_a_changed_policy_is_named_and_what_it_changes(bank: Path, casekit: Run) -> None:
    edit(bank / "conf/policy.yaml", r"never: ['\bguarantee']", "never: ['never said']")
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "conf/policy.yaml: was changed since the report was made" in err
    assert "scores.json: metrics[violation_rate, greedy].base.estimate" in err


def test_changed_gates_are_named(bank: Path, casekit: Run) -> None:
    gates = [{**RECIPE["gates"][0], "at_most": 0.5}, {"name": "New", "metric": "bleu", "at_least": 1.0}]
    save_yaml(bank / "conf/project.yaml", {"gates": gates})
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "conf: gates.Few violations.at_most: is set otherwise now: 0.2 → 0.5" in err
    assert err.count("gates.New") == 1 and "conf: gates.New: was none of the settings then" in err
    assert (
        err.count("gates.Close") == 1 and "gates.Close to the reference: is none of the settings now" in err
    )
    assert "scores.json" not in err and "report.html" not in err


def test_settings_that_the_answers_were_not_made_with_are_named_beside_what_is_missing(
    bank: Path, casekit: Run
) -> None:
    said = "evaluate.sampling.answers is 2, and 1 was drawn to each prompt of first"
    code, _, err = casekit("report", "evaluate.sampling.answers=2")
    assert code == 0 and said in err and "give the evaluation's words to `casekit report`" in err
    code, _, err = casekit("verify", "first", "evaluate.sampling.answers=2")
    assert code == 1
    assert f"conf: {said}" in err and "predictions.jsonl: lacks" in err


def test_changed_tolerances_and_another_baseline_are_named(bank: Path, casekit: Run) -> None:
    told = {"tolerance": 0.5, "tolerances": {"bleu": 3.0}, "baseline": "zeroth"}
    save_yaml(bank / "conf/project.yaml", {"report": told})
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "conf: report.tolerance: is set otherwise now: 0.02 → 0.5" in err
    assert "conf: report.tolerances.bleu: is set otherwise now: not set → 3.0" in err
    assert 'conf: report.baseline: is set otherwise now: null → "zeroth"' in err


def test_another_title_leaves_a_report_true(bank: Path, casekit: Run) -> None:
    """What judges nothing may change after a release."""
    save_yaml(bank / "conf/project.yaml", {"report": {"data_licences": {"tickets": "CC0-1.0"}}})
    tree = yaml.safe_load((bank / "conf/recipe.yaml").read_text())
    save_yaml(bank / "conf/recipe.yaml", {**tree, "recipe": {**tree["recipe"], "title": "Another"}})
    assert casekit("verify", "first")[0] == 0


def test_changed_data_is_named(bank: Path, casekit: Run) -> None:
    prepared = bank / "data/prepared/f00d"
    edit(prepared / "data.json", '"kept": 1188', '"kept": 1000')
    shutil.rmtree(prepared / "test")
    save_rows(prepared / "test", range(1, 61))
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "data/prepared/f00d/data.json: was changed" in err
    assert "data/prepared/f00d/test/data-00000-of-00001.arrow: was changed" in err


def test_files_that_are_gone_are_all_named(bank: Path, casekit: Run) -> None:
    (bank / "evaluations/first/predictions.jsonl").unlink()
    (bank / "reports/first/report.md").unlink()
    code, out, err = casekit("verify", "first")
    assert (code, out) == (2, "")
    assert "evaluations/first/predictions.jsonl: is not there" in err.replace(" is not", ": is not").replace(
        "::", ":"
    )
    assert "reports/first/report.md" in err


def test_no_such_report(bank: Path, casekit: Run) -> None:
    code, _, err = casekit("verify", "second")
    assert code == 2
    assert "no report 'second'" in err and "reports: first" in err


def test_a_comparison_is_no_report_to_verify_or_review(bank: Path, casekit: Run) -> None:
    for name, output in (("old", "Yes."), ("new", "No.")):
        rows = [
            {"id": f"q{n}", "prompt": f"Is {n} even?", "output": output, "answer": "Yes."} for n in range(20)
        ]
        save_lines(bank / f"{name}.jsonl", rows)
    files = ("old.jsonl", "new.jsonl")
    assert casekit("compare", *files, "-m", "exact_match", "--out", "reports/compared")[0] in (0, 3)
    assert casekit("compare", *files, *files[:1], "-m", "exact_match", "--out", "reports/three")[0] in (0, 3)
    for name in ("compared", "three"):
        for command in ("verify", "review"):
            code, _, err = casekit(command, name)
            assert code == 2
            assert "is a comparison, which rests on no run of this project" in err
    assert find_report(None, bank).name == "first", "the newest report is no comparison"
    (bank / "reports/first/report.json").unlink()
    code, _, err = casekit("review")
    assert code == 2
    assert "none yet; make one with `casekit report`" in err


def test_another_casekit_checks_numbers_and_hashes(
    bank: Path, casekit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.train.manifest.code_sha256", lambda package: "0" * 64)
    monkeypatch.setattr("kit.__version__", "99.0.0")
    code, _, err = casekit("verify", "first")
    assert code == 0
    assert "made by another casekit" in err
    edit(bank / "reports/first/report.md", "6.7%", "0.7%")
    assert casekit("verify", "first")[0] == 1


def test_a_report_of_an_evaluation_by_an_earlier_casekit_is_true(
    bank: Path, casekit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.__version__", "99.0.0")
    assert casekit("report")[0] == 0
    assert casekit("verify", "first")[::2] == (0, "")


def test_reviews_and_a_baseline_are_part_of_what_is_verified(bank: Path, casekit: Run) -> None:
    add_evaluation(bank, "second", faults=0.05, seed=2)
    item = read_lines(bank / "reports/first/items.jsonl")[0]
    review = {
        "id": item["id"], "system": "tuned", "decoding": "greedy", "verdict": "accept", "note": "fine",
        "output_sha256": item["greedy"]["tuned"]["output_sha256"], "reviewer": "Ann", "date": "2026-01-03",
    }  # fmt: skip
    save_lines(bank / "reviews.jsonl", [review])
    assert casekit("report", "--evaluation", "second", "--baseline", "first")[0] == 0
    assert casekit("verify", "second")[0] == 0

    later = {**review, "reviewer": "Bob", "verdict": "reject"}
    save_lines(bank / "reviews.jsonl", [review, later])
    assert casekit("verify", "second")[0] == 0, "later verdicts do not make an earlier report untrue"

    save_lines(bank / "reviews.jsonl", [later])
    code, _, err = casekit("verify", "second")
    assert code == 1
    assert f"review of {item['id']} by Ann: no such line stands in reviews.jsonl" in err

    save_lines(bank / "reviews.jsonl", [review])
    edit(bank / "reports/first/items.jsonl", '"violation_rate": 0.0', '"violation_rate": 1.0')
    code, _, err = casekit("verify", "second")
    assert code == 1
    assert "report.json: baseline.metrics[violation_rate].then" in err

    shutil.rmtree(bank / "reports/first")
    code, _, err = casekit("verify", "second")
    assert code == 2
    assert "reports/first/items.jsonl" in err


RUBRIC = "question: Does it promise a return?\nlabels: [complies, violates]\ngood: [complies]\n"


@pytest.fixture
def judged(bank: Path, casekit: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project with a judge that was asked; from now on there is neither a key nor anybody to ask."""

    def asked(endpoint: Any, key: str, questions: dict[str, Any]) -> Iterator[tuple[str, Reply]]:
        for name, messages in questions.items():
            fault = "guarantees 8% a year" in messages[0]["content"]
            yield name, Reply(json.dumps({"verdict": "violates" if fault else "complies"}))

    def nobody(*_: object) -> None:
        raise AssertionError("the judge was asked again")

    (bank / "conf/rubric.yaml").write_text(RUBRIC)
    ids = [item["id"] for item in read_lines(bank / "reports/first/items.jsonl")]
    save_lines(bank / "labels.jsonl", [{"id": ids[0], "system": "tuned", "label": "complies"}])
    judge = {
        "model": "m", "base_url": "https://judge.example/v1", "api_key_env": "JUDGE_KEY", "pairwise": False,
        "rubric": "conf/rubric.yaml", "labels": "labels.jsonl",
    }  # fmt: skip
    save_yaml(bank / "conf/project.yaml", {"evaluate": {"judge": judge}})
    monkeypatch.setenv("JUDGE_KEY", "sk-not-a-real-key")
    monkeypatch.setattr("kit.evaluate.judge.ask_all", asked)
    rescore(bank, bank / "evaluations/first")
    assert casekit("report")[0] in (0, 1)
    monkeypatch.delenv("JUDGE_KEY")
    monkeypatch.setattr("kit.evaluate.judge.ask_all", nobody)
    return bank


def test_a_judges_scores_are_made_again_from_its_replies_without_a_key(judged: Path, casekit: Run) -> None:
    code, _, err = casekit("verify", "first")
    assert (code, err) == (0, "")


def test_a_changed_rubric_is_named_and_nobody_is_asked_again(judged: Path, casekit: Run) -> None:
    edit(judged / "conf/rubric.yaml", "promise a return", "promise anything")
    replies = (judged / "evaluations/first/judge.jsonl").read_bytes()
    code, _, err = casekit("verify", "first", "--all")
    assert code == 1
    assert "conf/rubric.yaml: was changed since the report was made" in err
    assert err.count("holds no reply of the judge to this question") == len(replies.splitlines())
    assert (judged / "evaluations/first/judge.jsonl").read_bytes() == replies


def test_changed_labels_are_named_and_what_they_change(judged: Path, casekit: Run) -> None:
    edit(judged / "labels.jsonl", '"complies"', '"violates"')
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "labels.jsonl: was changed since the report was made" in err
    assert "scores.json: judge.calibration.parts" in err


def test_a_reply_that_is_changed_taken_away_or_cut_is_told(judged: Path, casekit: Run) -> None:
    path = judged / "evaluations/first/judge.jsonl"
    lines = read_lines(path)
    save_lines(path, lines[1:])
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "evaluations/first/judge.jsonl: was changed since the report was made" in err
    assert f"judge.jsonl: {lines[0]['about']}: holds no reply of the judge to this question" in err

    other = "violates" if lines[0]["verdict"] == "complies" else "complies"
    save_lines(path, [{**lines[0], "verdict": other}, *lines[1:]])
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "scores.json: judge.verdicts" in err

    path.write_bytes(path.read_bytes()[:-9])
    cut = path.read_bytes()
    code, _, err = casekit("verify", "first")
    assert code == 1
    assert "judge.jsonl: ends in the middle of a line" in err
    assert path.read_bytes() == cut, "what is evidence is not mended"


def test_a_rubric_that_is_gone_is_named(judged: Path, casekit: Run) -> None:
    (judged / "conf/rubric.yaml").unlink()
    code, _, err = casekit("verify", "first")
    assert code == 2
    assert "conf/rubric.yaml" in err
