"""The four faces of a report say the same, whatever the verdict and whatever is missing."""

import json
from pathlib import Path

import pytest
from report_samples import Sample, build, config, response_time

from kit.config.errors import ConfigError, DataError, ExitCode
from kit.report.build import write_report
from kit.report.markdown import escape

FACES = ("report.html", "report.md", "report.json", "MODEL_CARD.md")
BESIDE = ("DATA_CARD.md", "items.jsonl", "junit.xml", "settings.json")


def gates(**changes: object) -> list[dict[str, object]]:
    return [{"name": "Few violations", "metric": "violation_rate", **changes}]


CASES = {
    "passed": (gates(at_most=0.9), ExitCode.DONE),
    "no gates": ([], ExitCode.NOT_ENOUGH_EVIDENCE),
    "failed": (gates(at_most=0.0), ExitCode.GATE_FAILED),
    "not enough evidence": (gates(at_most=0.9, min_n=5000), ExitCode.NOT_ENOUGH_EVIDENCE),
}


@pytest.mark.parametrize("status", CASES)
def test_verdict_and_exit_code_are_the_same_in_all_faces(status: str, tmp_path: Path) -> None:
    wanted, code = CASES[status]
    status = "not enough evidence" if status == "no gates" else status
    sample = build(tmp_path, prompts=60, settings=config(gates=wanted))

    result = write_report(*sample.arguments)

    assert result.exit_code is code
    assert result.verdict["status"] == status
    assert sorted(path.name for path in result.folder.iterdir()) == sorted(FACES + BESIDE)
    html, markdown, report, card = ((result.folder / face).read_text("utf-8") for face in FACES)
    assert json.loads(report)["verdict"] == {
        "status": status,
        "exit_code": int(code),
        "sentence": result.verdict["sentence"],
    }
    assert f'class="verdict {status.replace(" ", "-")}"' in html
    assert f"exit code <b>{int(code)}</b>" in html
    assert result.verdict["sentence"] in html
    assert f"Exit code {int(code)}." in markdown and status in markdown.splitlines()[0].lower()
    assert f"**{status}** (exit code {int(code)})" in card


def test_mismatched_conditions_make_the_run_invalid_and_stand_on_top(sample: Sample) -> None:
    conditions = sample.scores()["conditions"] | {"mismatches": ["the chat template differs"]}
    sample.change_scores(conditions=conditions)

    result = write_report(*sample.arguments)

    assert result.exit_code is ExitCode.INVALID_RUN
    for face in ("report.html", "report.md"):
        text = (result.folder / face).read_text("utf-8")
        assert text.index("the chat template differs") < text.index(
            "Gates</h2>" if "html" in face else "## Gates"
        )


def test_the_same_numbers_stand_in_page_markdown_and_card(sample: Sample) -> None:
    folder = write_report(*sample.arguments).folder
    tuned = next(m for m in sample.scores()["metrics"] if m["name"] == "violation_rate")["tuned"]
    shown = f"{100 * tuned['estimate']:.1f}%", f"[{100 * tuned['low']:.1f},\u00a0{100 * tuned['high']:.1f}]"

    for face in ("report.html", "report.md", "MODEL_CARD.md"):
        text = (folder / face).read_text("utf-8")
        assert all(number in text for number in shown), face


def test_safety_and_agreement_with_the_reference_are_groups_of_their_own(sample: Sample) -> None:
    folder = write_report(*sample.arguments).folder
    html, markdown = ((folder / face).read_text("utf-8") for face in ("report.html", "report.md"))
    wanted = ["Safety", "Agreement with the reference", "Service", "Speed"]
    scores = html[html.index('<table role="table" class="scores">') :]
    greedy = scores[: scores.index("</table>")]
    bodies = greedy.split("<tbody")[1:]
    assert [next(title for title in wanted if title in body) for body in bodies] == wanted
    assert "Policy violations" in bodies[0] and "Risk disclosures" in bodies[0]
    assert "Overlap with the reference" in bodies[1] and "Policy violations" not in bodies[1]
    lines = markdown[markdown.index("## Scores, greedy") : markdown.index("## Scores, sampled")].splitlines()
    assert [line.removeprefix("### ") for line in lines if line.startswith("### ")] == wanted
    assert "Needless refusals" in markdown.split("### Service")[1].split("###")[0]
    entries = json.loads((folder / "report.json").read_text("utf-8"))["metrics"]
    assert {entry["name"]: entry["about"] for entry in entries}["token_f1"] == "agreement"


def test_report_json_keeps_the_scores_and_leaves_out_the_items(sample: Sample) -> None:
    folder = write_report(*sample.arguments).folder
    report = json.loads((folder / "report.json").read_text("utf-8"))

    assert "items" not in report
    kept = {key: value for key, value in sample.scores().items() if key != "items"}
    assert {key: report[key] for key in kept} == kept
    assert [gate["name"] for gate in report["gates"]] == [gate.name for gate in sample.config.gates]
    assert {claim["status"] for claim in report["claims"]} <= {"supported", "not supported", "not testable"}


def test_synthetic_data_and_tiny_are_said_before_the_verdict(sample: Sample) -> None:
    folder = write_report(*sample.arguments).folder
    sentence = json.loads((folder / "report.json").read_text("utf-8"))["verdict"]["sentence"]
    faces = (("report.html", 'id="verdict"'), ("report.md", sentence), ("MODEL_CARD.md", "Release report:"))
    for face, verdict in faces:
        text = (folder / face).read_text("utf-8")
        assert text.index("prove the machinery, not the domain") < text.index(verdict)

    sample.change_scores(synthetic=False, model="Qwen/Qwen3-0.6B")
    folder = write_report(*sample.arguments).folder
    assert all("machinery" not in (folder / face).read_text("utf-8") for face in FACES)


def test_a_gates_evidence_stands_beside_it(tmp_path: Path) -> None:
    """Interval, groups, and why a gate is open or passes by its estimate alone."""
    wanted = [
        {"name": "Thin", "metric": "violation_rate", "at_most": 0.9, "min_n": 50},
        {"name": "Lucky", "metric": "over_refusal_rate", "at_most": 0.1, "min_n": 10},
    ]
    sample = build(tmp_path, prompts=120, settings=config(gates=wanted))
    metrics = sample.scores()["metrics"]
    metrics[0]["groups"] = 40
    metrics[2]["tuned"] = {"estimate": 0.08, "low": 0.04, "high": 0.14, "method": "Wilson"}
    sample.change_scores(metrics=metrics)

    folder = write_report(*sample.arguments).folder

    for face in ("report.html", "report.md"):
        text = (folder / face).read_text("utf-8")
        assert "40 groups of prompts, the gate asks for 50." in text.replace("\\", ""), face
        assert "40 groups" in text
        assert "It passes on the estimate; the interval goes on to 14.0%." in text, face
        assert "[4.0,\u00a014.0]" in text
    report = json.loads((folder / "report.json").read_text("utf-8"))
    thin, lucky = report["gates"]
    assert (thin["groups"], thin["status"], lucky["reaches_past"]) == (40, "not enough evidence", True)
    assert "the gate asks for 50" in thin["why"] and (lucky["low"], lucky["high"]) == (0.04, 0.14)


def test_a_language_without_test_prompts_is_named(tmp_path: Path) -> None:
    gate = {"name": "Every language", "metric": "disclosure_rate", "at_least": 0.1, "worst": "language"}
    settings = config(gates=[gate], project={"name": "p", "languages": ["en", "de"]})
    sample = build(tmp_path, prompts=120, settings=settings)
    metrics = sample.scores()["metrics"]
    english = {**metrics[1], "column": "language", "value": "en", "tested": True}
    metrics[1]["slices"] = [english]
    sample.change_scores(metrics=metrics)

    result = write_report(*sample.arguments)

    assert result.exit_code is ExitCode.NOT_ENOUGH_EVIDENCE
    for face in ("report.html", "report.md"):
        assert "deployed language" in (result.folder / face).read_text("utf-8")


def test_a_speed_up_that_is_not_shown_is_not_told_as_one(sample: Sample) -> None:
    def said() -> str:
        return (write_report(*sample.arguments).folder / "report.html").read_text("utf-8")

    assert "answers faster: 1.27×" in said() and "most of it is the shorter answers: 1.28×" in said()
    assert "base and tuned in turn" in said()
    metrics = [m for m in sample.scores()["metrics"] if m["name"] != "response_time"]
    latency = sample.scores()["latency"] | {
        "order": "alone",
        "left_out": 3,
        "failed": {"base": 2, "tuned": 1},
    }
    sample.change_scores(metrics=[*metrics, response_time("not shown")], latency=latency)
    assert "No change is shown: 1.27×" in said() and "shorter answers: 1.28×" not in said()
    assert "first all of base, then all of tuned" in said()
    assert "Left out: 3 more prompts" in said() and "2 of base, 1 of tuned" in said()
    sample.change_scores(metrics=[*metrics, response_time("worse")])
    assert "answers more slowly" in said()


def test_the_intended_use_is_not_told_as_a_finding(sample: Sample) -> None:
    page = (write_report(*sample.arguments).folder / "report.html").read_text("utf-8")
    lede = page[page.index('class="lede"') : page.index("</p>", page.index('class="lede"'))]
    assert "Intended use." in lede and "what this report measures" in lede


def test_a_relaxed_gate_shows_its_reason_beside_it(sample: Sample) -> None:
    folder = write_report(*sample.arguments).folder
    reason = next(gate.because for gate in sample.config.gates if gate.because)
    assert reason in (folder / "report.html").read_text("utf-8")
    assert reason in (folder / "report.md").read_text("utf-8")


def test_one_seed_and_uses_it_is_not_for_stand_under_limits(sample: Sample) -> None:
    folder = write_report(*sample.arguments).folder
    for face in ("report.html", "report.md", "MODEL_CARD.md"):
        text = (folder / face).read_text("utf-8")
        assert "One training seed" in text
        assert all(use in text for use in sample.config.recipe.not_for)


def test_optional_pieces_may_be_missing(tmp_path: Path) -> None:
    sample = build(tmp_path, prompts=40, settings=config(claims=[], gates=[]))
    bare = [metric | {"slices": [], "details": {}} for metric in sample.scores()["metrics"]]
    sample.change_scores(latency=None, metrics=bare, validity={}, minimum_detectable_effect=None, items=[])
    (sample.run / "metrics.jsonl").write_text("", encoding="utf-8")

    result = write_report(*sample.arguments)

    html = (result.folder / "report.html").read_text("utf-8")
    assert result.exit_code is ExitCode.NOT_ENOUGH_EVIDENCE, "without gates nothing is released"
    for absent in ('id="claims"', 'id="slices"', 'id="latency"', ">None<", ">nan<"):
        assert absent not in html
    assert 'href="#latency"' not in html


def test_nothing_measured_still_makes_a_report(tmp_path: Path) -> None:
    sample = build(tmp_path, prompts=40, settings=config(claims=[], gates=[]))
    lost = {
        "name": "x",
        "label": "Escalation",
        "decoding": "greedy",
        "why": "applies to none of the 40 prompts",
    }
    sample.change_scores(metrics=[], items=[], unscored=[lost])

    html = (write_report(*sample.arguments).folder / "report.html").read_text("utf-8")

    assert "Nothing was measured" in html
    assert "Escalation (greedy): applies to none of the 40 prompts." in html


def test_absent_and_broken_inputs_are_told_all_at_once(sample: Sample) -> None:
    (sample.evaluation / "scores.json").unlink()
    (sample.prepared / "data.json").write_text("{", encoding="utf-8")
    (sample.run / "metrics.jsonl").write_text('{"step": 1}\n{"st', encoding="utf-8")

    with pytest.raises(DataError) as caught:
        write_report(*sample.arguments)

    where = [problem.where for problem in caught.value.problems]
    assert where == [
        str(sample.evaluation / "scores.json"),
        f"{sample.run / 'metrics.jsonl'}:2",
        f"{sample.prepared / 'data.json'}:1",
    ]
    assert "casekit evaluate" in caught.value.problems[0].hint
    assert not (sample.root / "reports").exists()


def test_a_gate_on_an_unknown_metric_leaves_no_report(tmp_path: Path) -> None:
    wanted = [*gates(at_most=1), {"name": "Typo", "metric": "violation_rat", "at_most": 1}]
    sample = build(tmp_path, prompts=40, settings=config(gates=wanted))
    with pytest.raises(ConfigError, match="violation_rat"):
        write_report(*sample.arguments)
    assert not (tmp_path / "reports").exists()


def test_writing_again_replaces_the_report_byte_for_byte(sample: Sample) -> None:
    first = write_report(*sample.arguments).folder
    before = {face: (first / face).read_bytes() for face in FACES + BESIDE}
    second = write_report(*sample.arguments).folder
    assert {face: (second / face).read_bytes() for face in FACES + BESIDE} == before
    assert [path.name for path in (sample.root / "reports").iterdir()] == [first.name]


def test_a_report_of_2000_prompts_is_under_3_megabytes(tmp_path: Path) -> None:
    sample = build(tmp_path, prompts=2000)
    long = "All work and no play makes a dull answer. " * 25_000
    items = sample.scores()["items"]
    for item in items:
        item["greedy"]["tuned"]["output"] = long[:5_000]
    items[0]["greedy"]["tuned"]["output"] = long
    sample.change_scores(items=items)

    page = write_report(*sample.arguments).folder / "report.html"

    assert page.stat().st_size < 3_000_000
    assert "2,000 prompts" in page.read_text("utf-8")


def test_the_power_of_few_prompts_is_not_overstated(sample: Sample) -> None:
    sample.change_scores(minimum_detectable_effect=0.2, prompts=12)
    said = (write_report(*sample.arguments).folder / "report.md").read_text("utf-8")
    assert "12 prompts are too few" in said and "show a difference" not in said


def test_power_counts_groups(sample: Sample) -> None:
    sample.change_scores(minimum_detectable_effect=0.1, prompts=120, groups=90)
    said = (write_report(*sample.arguments).folder / "report.md").read_text("utf-8")
    assert "120 prompts in 90 groups show a difference of 10.0 points" in said


def test_a_broken_base_is_named_before_any_number(sample: Sample) -> None:
    broken = {"n": 200, "invalid": 150, "reasons": {"cut": 150}}
    fine = {"n": 200, "invalid": 2, "reasons": {"empty": 2}}
    sample.change_scores(validity={"greedy": {"base": broken, "tuned": fine}})
    said = (write_report(*sample.arguments).folder / "report.md").read_text("utf-8")
    assert said.index("Most answers of the base model") < said.index("## Gates")


def test_prices_in_markdown_are_not_mathematics() -> None:
    assert escape("from $5 to $6") == r"from \$5 to \$6"


def test_what_was_lost_outside_the_case_stands_on_page_one_and_in_its_table(sample: Sample) -> None:
    metric = {
        **sample.scores()["metrics"][0],
        "label": "Result right",
        "higher_is_better": True,
        "kind": "rate",
    }
    gap = {"estimate": -0.06, "low": -0.09, "high": -0.03, "p_value": 0.001, "method": "m"}
    lost = {**metric, "difference": gap, "kept": "lost"}
    kept = {**metric, "difference": {**gap, "low": -0.01, "high": 0.02}, "label": "Polite", "kept": "kept"}
    found = {
        "name": "<b>sums</b>", "path": "sums.jsonl", "prompts": 400, "margin": 0.02,
        "invalid": {"base": 0, "tuned": 40}, "metrics": [lost, kept], "unscored": [],
    }  # fmt: skip
    sample.change_scores(general=[found])

    result = write_report(*sample.arguments)

    html, markdown = (
        (result.folder / face).read_text("utf-8").replace("\u200b", "").replace("\u00a0", " ")
        for face in ("report.html", "report.md")
    )
    notice = "Tuning cost Result right on &lt;b&gt;sums&lt;/b&gt;: −6.0 points [−9.0, −3.0]."
    assert notice in html.partition("<main>")[2].partition("Scores<")[0]
    assert "<b>sums</b>" not in html
    section = html.partition('<section id="general"')[2].partition("</section>")[0]
    assert "this is a loss, and one of 2.0 points or more is not ruled out" in section
    assert "a loss of 2.0 points or more is ruled out" in section
    assert "40 of 400 answers of tuned (10.0%) are empty, cut or repeating" in section
    assert "▼ lost" in markdown and "✓ kept" in markdown
    assert json.loads((result.folder / "report.json").read_text())["general"][0]["margin"] == 0.02
