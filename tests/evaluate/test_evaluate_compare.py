"""`casekit compare`: what it says, what it refuses, and its exit codes."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from compare_samples import POLICY, accuracy, casekit, often_wrong, read, right, rows_of, two, write

from kit.evaluate.contract import SCHEMA
from kit.report.contract import SchemaName, published

__all__ = ["casekit", "two"]  # fixtures

JUDGE = (
    "{model: m, base_url: 'http://localhost:9/v1', rubric: {question: Is it so, labels: [a, b], good: [a]}}"
)
OF = "{of: closed_accuracy}"
FACES = {"report.html", "report.md", "report.json", "scores.json"}


def breaks(value: Any, name: SchemaName) -> list[str]:
    """Where a file of a comparison breaks its published schema."""
    schema = json.loads(published(name).read_text(encoding="utf-8"))
    errors = jsonschema.Draft202012Validator(schema).iter_errors(value)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


def gates(tmp_path: Path, *conditions: str) -> Path:
    path = tmp_path / "settings.yaml"
    lines = [f"  - {{name: gate {n}, {condition}}}" for n, condition in enumerate(conditions)]
    settings = "evaluate: {metrics: [closed_accuracy], bootstrap_draws: 500}\ndata: {slices: [size]}\n"
    path.write_text(settings + "\n".join(["gates:", *lines]), encoding="utf-8")
    return path


def test_two_files_make_a_report_that_calls_them_by_their_names(casekit, two, tmp_path):
    code, said, warned = casekit("compare", *two, "-m", "closed_accuracy", "--out", tmp_path / "out")

    assert (code, warned) == (0, "")
    assert "new against old: compared" in said and "33.3%" not in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == FACES
    report = read(tmp_path / "out" / "report.json")
    found = accuracy(report)
    assert report["systems"] == {"base": "old", "tuned": "new"} and report["schema"] == SCHEMA
    assert (found["n"], found["tuned"]["estimate"], found["verdict"]) == (60, 1.0, "improved")
    assert found["base"]["estimate"] == 0.5 and found["difference"]["estimate"] == 0.5
    assert report["verdict"]["status"] == "compared"
    assert breaks(report, "comparison") == []
    assert breaks(read(tmp_path / "out" / "scores.json"), "comparison-scores") == []
    for face in ("report.html", "report.md"):
        text = (tmp_path / "out" / face).read_text("utf-8").replace("\u00a0", " ")
        assert "new against old" in text and "+50.0 points" in text and "held-out" not in text
        for fixed in (">Base<", ">Tuned<", "| base |", "Greedy", "greedy", "Training</h2>", "Tuning"):
            assert fixed not in text, (face, fixed)


@pytest.mark.parametrize(
    ("condition", "code", "status"),
    [
        ("metric: closed_accuracy, at_least: 0.9", 0, "passed"),
        ("metric: closed_accuracy, significant: true", 0, "passed"),
        ("metric: closed_accuracy, at_least: 0.9, worst: size, min_n: 5", 0, "passed"),
        ("metric: closed_accuracy, of: difference, at_least: 0.9", 1, "failed"),
        ("metric: closed_accuracy, at_least: 0.9, min_n: 100", 3, "not enough evidence"),
        ("metric: closed_accuracy, at_least: 0.9, decoding: sampled", 3, "not enough evidence"),
        ("metric: response_time, of: ratio, at_least: 2", 3, "not enough evidence"),
    ],
)
def test_gates_are_judged_where_they_are_given(casekit, two, tmp_path, condition, code, status):
    settings, out = gates(tmp_path, condition), tmp_path / "out"
    assert casekit("compare", *two, "--config", settings, "--out", out)[0] == code
    assert read(out / "report.json")["verdict"]["status"] == status


def test_what_is_measured_with_the_models_stays_open(casekit, two, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "evaluate:\n  metrics: [closed_accuracy, memorised_secrets, answer_perplexity]\n"
        "  general: [{name: sums, path: sums.jsonl, metrics: [exact_match]}]\n"
        "gates:\n  - {name: sums kept, metric: exact_match, on: sums, non_inferior: {margin: 0.02}}\n"
        "  - {name: no secrets, metric: memorised_secrets, at_most: 0}\n"
    )
    code, *_ = casekit("compare", *two, "--config", settings, "--out", tmp_path / "out")
    report = read(tmp_path / "out" / "report.json")
    assert code == 3 and {gate["status"] for gate in report["gates"]} == {"not enough evidence"}
    assert breaks(report, "comparison") == [], "a set that was not asked has its path and margin"
    assert {lost["name"] for lost in report["unscored"]} == {"memorised_secrets", "answer_perplexity"}
    assert all("measured with the models" in lost["why"] for lost in report["unscored"])
    assert (
        "sums: exact_match: it is measured with the models" in (tmp_path / "out" / "report.html").read_text()
    )


@pytest.mark.parametrize("name", ["calibration_error", "brier_score", "risk_coverage", "judge"])
def test_gates_on_confidence_and_on_a_judge_stay_open(casekit, two, tmp_path, name):
    settings, out = tmp_path / "settings.yaml", tmp_path / "out"
    asked = "closed_accuracy" if name == "judge" else f"closed_accuracy, {{name: {name}, params: {OF}}}"
    settings.write_text(
        f"evaluate: {{metrics: [{asked}], judge: {JUDGE}}}\n"
        f"gates: [{{name: right, metric: closed_accuracy, at_least: 0.5}},"
        f" {{name: open, metric: {name}, at_most: 0.1}}]\n"
    )
    code, _, said = casekit("compare", *two, "--config", settings, "--out", out)
    assert (code, said) == (3, "")
    report = read(out / "report.json")
    assert [gate["status"] for gate in report["gates"]] == ["passed", "not enough evidence"]
    (lost,) = report["unscored"]
    assert lost["name"] == name and ("no judge" in lost["why"]) == (name == "judge")
    assert breaks(report, "comparison") == []


def test_a_gate_on_the_wrong_figure_is_bad_input_and_leaves_no_report(casekit, two, tmp_path):
    settings = gates(tmp_path, "metric: closed_accuracy, of: reduction, at_least: 0.5")
    code, _, said = casekit("compare", *two, "--config", settings, "--out", tmp_path / "out")
    assert code == 2 and "`reduction` is for rates where lower is better" in said
    assert not (tmp_path / "out").exists()


def test_a_system_that_mostly_gives_no_answer_is_invalid_with_or_without_gates(casekit, two, tmp_path):
    broken = write(tmp_path / "broken.jsonl", rows_of(lambda number: "" if number % 4 else "yes"))
    code, *_ = casekit("compare", two[0], broken, "-m", "closed_accuracy", "--out", tmp_path / "out")
    sentence = read(tmp_path / "out" / "report.json")["verdict"]["sentence"]
    assert code == 4 and "45 of 60" in sentence and "of broken are " in sentence
    code, *_ = casekit("compare", broken, two[0], "-m", "closed_accuracy", "--out", tmp_path / "out")
    assert code == 0, "what is held against a broken reference is not itself broken"
    assert "Most answers of broken are " in (tmp_path / "out" / "report.md").read_text("utf-8")
    cut = write(tmp_path / "cut.jsonl", rows_of(right, finished=False))
    code, *_ = casekit("compare", two[0], cut, "-m", "closed_accuracy", "--out", tmp_path / "out")
    assert code == 4
    assert read(tmp_path / "out" / "scores.json")["validity"]["greedy"]["tuned"]["reasons"] == {"cut": 60}


def test_the_settings_come_from_one_place(casekit, two, tmp_path):
    out, settings = ("--out", tmp_path / "out"), gates(tmp_path, "metric: closed_accuracy, at_least: 0.5")
    code, _, said = casekit("compare", *two, *out, "-p", tmp_path)
    assert code == 2 and "--metric" in said and "not a casekit project" in said
    code, _, said = casekit("compare", *two, *out, "--config", settings, "-m", "closed_accuracy")
    assert code == 2 and "--config" in said
    code, _, said = casekit("compare", *two, *out, "--policy", POLICY)
    assert code == 2 and "belongs to --metric" in said
    code, _, said = casekit("compare", *two, *out, "-m", "closed_acuracy")
    assert code == 2 and "closed_accuracy" in said
    settings.write_text("evaluate: {metrics: [closed_accuracy]}\ngats: []\n")
    code, _, said = casekit("compare", *two, *out, "--config", settings)
    assert code == 2 and "settings.yaml:2" in said and "did you mean `gates`" in said
    settings.write_text("seed: 1\n")
    code, _, said = casekit("compare", *two, *out, "--config", settings)
    assert code == 2 and "no metric to compare answers by" in said
    assert not (tmp_path / "out").exists()


def test_a_policy_goes_to_the_metrics_that_judge_by_one(casekit, tmp_path):
    def rows(output):
        expected = {"topic": "savings", "answerable": True}
        return [{**row, "expected": expected} for row in rows_of(lambda _: output, 40)]

    old = write(tmp_path / "old.jsonl", rows("This account guarantees you 8% a year."))
    new = write(tmp_path / "new.jsonl", rows("The rate may change at any time."))
    metrics = [
        word for name in ("violation_rate", "over_refusal_rate", "repetition") for word in ("-m", name)
    ]
    code, *_ = casekit("compare", old, new, *metrics, "--policy", POLICY, "--out", tmp_path / "out")
    report = read(tmp_path / "out" / "report.json")
    found = {metric["name"]: metric["verdict"] for metric in report["metrics"]}
    assert code == 0
    assert found == {
        "violation_rate": "improved",
        "over_refusal_rate": "not shown",
        "repetition": "not shown",
    }
    for face in ("report.html", "report.md"):
        text = (tmp_path / "out" / face).read_text("utf-8")
        assert face == "report.md" or "F1: Promises a return" in text, "rules have their titles"
        assert "None of 40 answers of new breaks a critical rule" in text
        assert "greedy" not in text.lower() and "tuned model" not in text


def test_three_systems_get_a_table_of_all_and_a_report_each(casekit, two, tmp_path):
    """p-values are corrected over the two systems (Holm); the exit code is that of the worst."""
    slight = write(tmp_path / "slight.jsonl", rows_of(lambda n: right(n) if n < 2 else often_wrong(n)))
    settings, out = gates(tmp_path, "metric: closed_accuracy, significant: true"), tmp_path / "out"

    code, said, _ = casekit("compare", two[0], two[1], slight, "--config", settings, "--out", out)

    report = read(out / "report.json")
    assert code == 1 and report["verdict"]["sentence"] == "new: passed; slight: failed."
    folders = [pair["folder"] for pair in report["pairs"]]
    assert folders == ["1-new", "2-slight"]
    assert {path.name for path in out.iterdir()} == {"report.html", "report.md", "report.json", *folders}
    raw, adjusted = zip(
        *(
            (pair["metrics"][0]["difference"]["p_value"], pair["metrics"][0]["difference"]["adjusted_p"])
            for pair in report["pairs"]
        ),
        strict=True,
    )
    assert raw[0] < raw[1] and adjusted == (pytest.approx(2 * raw[0]), pytest.approx(raw[1]))
    assert breaks(report, "comparison-family") == []
    for folder in folders:
        assert {path.name for path in (out / folder).iterdir()} == FACES
        assert breaks(read(out / folder / "report.json"), "comparison") == []
        assert breaks(read(out / folder / "scores.json"), "comparison-scores") == []
        page = (out / "report.html").read_text("utf-8")
        assert f'href="{folder}/report.html"' in page
    page, text = (out / "report.html").read_text("utf-8"), (out / "report.md").read_text("utf-8")
    for face in (page, text):
        assert "2 systems against old" in face and "(Holm)" in face
        assert face.count("+50.0") >= 1
    assert "new against old: passed" in said and "slight against old: failed" in said
    gate = read(out / "1-new" / "report.json")["gates"][0]
    assert gate["adjusted_p"] == pytest.approx(2 * gate["p_value"]), "the gate of the other system counts too"


def test_holm_takes_a_verdict_back_that_one_comparison_would_give(casekit, tmp_path):
    """6 of 6 changes for the better: mid-p .016, twice that .031, four times .062."""
    old = write(tmp_path / "old.jsonl", rows_of(lambda n: "maybe" if n < 6 else right(n)))
    better = [write(tmp_path / f"s{i}.jsonl", rows_of(right)) for i in range(4)]
    shown = {}
    for count in (1, 2, 4):
        out = tmp_path / f"out{count}"
        assert casekit("compare", old, *better[:count], "-m", "closed_accuracy", "--out", out)[0] == 0
        report = read(out / "report.json")
        entry = report["metrics"][0] if count == 1 else report["pairs"][0]["metrics"][0]
        shown[count] = entry["verdict"]
    assert shown == {1: "improved", 2: "improved", 4: "not shown"}
    text = (tmp_path / "out4" / "1-s0" / "report.md").read_text("utf-8")
    assert "Among so many comparisons chance could explain this" in text


def test_hostile_names_and_texts_stay_text(casekit, tmp_path):
    evil = "<script>alert(1)</script>\u202e|`{{ 7 * 7 }}"
    rows = [{**row, "output": row["output"] + evil, "slices": {evil: evil}} for row in rows_of(right)]
    bad = write(tmp_path / "<img src=x onerror=alert(1)> {{7*7}} | `b`.jsonl", rows)
    old = write(tmp_path / "old.jsonl", [{**row, "output": evil} for row in rows])
    third = write(tmp_path / "[x](javascript:alert(1)).jsonl", rows)
    for systems, out in (((old, bad), "two"), ((old, bad, third), "three")):
        code, *_ = casekit("compare", *systems, "-m", "closed_accuracy", "--out", tmp_path / out)
        assert code == 0
        pages = list((tmp_path / out).rglob("report.html"))
        assert len(pages) == len(systems) if len(systems) == 3 else 1
        for page in pages:
            html = page.read_text("utf-8")
            heading = html.partition("<h1>")[2].partition("</h1>")[0]
            assert "<img src=x" not in html and "<script>alert" not in html and "\u202e" not in html
            assert "49" not in heading and ("&lt;img src=x" in html or "[x](java" in html)
        for markdown in (tmp_path / out).rglob("report.md"):
            text = markdown.read_text("utf-8")
            assert "<img" not in text and "](java" not in text.replace("\\](java", "")


def test_systems_of_one_name_are_told_apart(casekit, two, tmp_path):
    places = [tmp_path / name / "answers.jsonl" for name in ("first", "second")]
    for path, rows in zip(places, (rows_of(often_wrong), rows_of(right)), strict=True):
        path.parent.mkdir()
        write(path, rows)
    assert casekit("compare", *places, "-m", "closed_accuracy", "--out", tmp_path / "out")[0] == 0
    assert read(tmp_path / "out" / "report.json")["systems"] == {
        "base": "first/answers",
        "tuned": "second/answers",
    }
    assert casekit("compare", two[0], two[0], "-m", "closed_accuracy", "--out", tmp_path / "out")[0] == 0
    report = read(tmp_path / "out" / "report.json")
    assert report["systems"] == {"base": "old", "tuned": "old (2)"}
    assert (accuracy(report)["difference"]["p_value"], accuracy(report)["verdict"]) == (1.0, "not shown")


def test_only_an_earlier_comparison_is_replaced_and_its_verdict_stays_listed(casekit, two, tmp_path):
    out = tmp_path / "out"
    code, _, said = casekit("compare", *two, "-m", "closed_accuracy", "--out", tmp_path)
    assert code == 2 and "holds other things" in said and two[0].is_file()
    strict = gates(tmp_path, "metric: closed_accuracy, of: difference, at_least: 0.9")
    assert casekit("compare", *two, "--config", strict, "--out", out)[0] == 1
    mild = gates(tmp_path, "metric: closed_accuracy, at_least: 0.5")
    assert casekit("compare", *two, "--config", mild, "--out", out)[0] == 0
    assert [verdict["status"] for verdict in read(out / "report.json")["earlier"]] == ["failed"]
    assert casekit("compare", *reversed(two), "--config", mild, "--out", out)[0] == 0
    assert read(out / "report.json")["earlier"] == [], "another comparison says nothing of this one"
    third = write(tmp_path / "third.jsonl", rows_of(right))
    assert casekit("compare", *two, third, "-m", "closed_accuracy", "--out", out)[0] == 0
    assert casekit("compare", *two, "-m", "closed_accuracy", "--out", out)[0] == 0
    assert {path.name for path in out.iterdir()} == FACES
    (out / "notes.txt").write_text("mine")
    assert casekit("compare", *two, "-m", "closed_accuracy", "--out", out)[0] == 2
    assert (out / "notes.txt").read_text() == "mine"


def test_comparisons_among_a_projects_reports_are_listed(casekit, two, tmp_path):
    third = write(tmp_path / "third.jsonl", rows_of(right))
    for name, systems in (("pair", two), ("all", (*two, third))):
        out = tmp_path / "reports" / name
        assert casekit("compare", *systems, "-m", "closed_accuracy", "--out", out)[0] == 0
    code, said, _ = casekit("reports", tmp_path)
    assert code == 0
    assert sorted(line.split()[:2] for line in said.splitlines()) == [
        ["compared", "2"],  # systems against the first
        ["compared", "closed_accuracy"],
    ]


def test_a_comparison_that_measures_nothing_is_no_comparison(casekit, two, tmp_path):
    out = tmp_path / "out"
    code, said, _ = casekit("compare", *two, "-m", "bleu", "--out", out)
    assert code == 3
    assert "not enough evidence" in said
    assert "Nothing was measured: bleu applies to none of the" in " ".join(said.split())
    report = json.loads((out / "report.json").read_text())
    assert report["verdict"]["exit_code"] == 3 and report["metrics"] == []
    assert "Not scored:" in (out / "report.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "answer_perplexity"], "--metric answer_perplexity does not score answers"),
        (["-m", "response_time"], "--metric response_time does not score answers"),
        (["-m", "violation_rate"], "judges by a policy, and none is named"),
        (["-m", "violation_rate", "--policy", "nofile"], "--policy nofile is not there"),
        (["-m", "exact_match", "--policy", "nofile"], "--policy nofile is not there"),
        (["-m", "exact_match", "--policy", __file__], "no metric named judges by a policy"),
    ],
)
def test_metrics_that_answers_do_not_do_for_are_refused_with_the_reason(casekit, two, tmp_path, words, said):
    code, _, told = casekit("compare", *two, *words, "--out", tmp_path / "out")
    assert code == 2 and said in " ".join(told.split())
    assert not (tmp_path / "out").exists()
