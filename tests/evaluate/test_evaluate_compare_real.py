"""`casekit compare` on published pairs: an annotator of PubMedQA, and the counts of a guard on XSTest."""

import json
import os
from pathlib import Path

import pytest
from compare_samples import casekit, read, write

__all__ = ["casekit"]  # a fixture

DATA = Path(os.environ.get("CASEKIT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
DOCS = Path(__file__).parents[2] / "docs"
PAIR = DATA / "paired" / "pubmedqa_human_pair.jsonl"


def test_the_published_figures_of_pubmedqas_annotator(casekit, tmp_path):
    """Jin et al., EMNLP 2019: 78.0% of the test questions without the conclusion; with it, 90.4%."""
    if not PAIR.is_file():
        pytest.skip(f"real data is not here: {PAIR} (set CASEKIT_SHARED_DATA to its folder)")
    rows = [json.loads(line) for line in PAIR.read_text(encoding="utf-8").splitlines()]
    files = [
        write(
            tmp_path / f"{side}.jsonl",
            [
                {
                    "id": r["pmid"],
                    "prompt": r["question"],
                    "output": r[side],
                    "expected": {"label": r["gold"]},
                }
                for r in rows
                if r["test_split"]
            ],
        )
        for side in ("reasoning_free", "reasoning_required")
    ]
    out = tmp_path / "out"

    code, said, warned = casekit("compare", *files, "-m", "closed_accuracy", "-m", "macro_f1", "--out", out)

    assert (code, warned) == (0, "")
    assert ["closed_accuracy", "90.4%", "78.0%"] in [line.split()[:3] for line in said.splitlines()]
    accuracy, macro = read(out / "report.json")["metrics"]
    assert (accuracy["n"], accuracy["groups"]) == (500, 500)
    assert (accuracy["base"]["estimate"], accuracy["tuned"]["estimate"]) == (0.904, 0.78)
    difference = accuracy["difference"]
    assert difference["method"] == "Newcombe 10, mid-p McNemar"
    assert [round(difference[key], 3) for key in ("estimate", "low", "high")] == [-0.124, -0.171, -0.077]
    items = [item["greedy"] for item in read(out / "scores.json")["items"]]
    both = [
        (item["base"]["scores"]["closed_accuracy"], item["tuned"]["scores"]["closed_accuracy"])
        for item in items
    ]
    assert [both.count(cell) for cell in ((1, 1), (1, 0), (0, 1), (0, 0))] == [345, 107, 45, 3]
    assert accuracy["verdict"] == "worse" and macro["verdict"] == "worse"
    assert round(macro["tuned"]["estimate"], 3) == 0.722
    page = (DOCS / "how-to" / "compare-systems.md").read_text("utf-8")
    for line in said.splitlines()[:-1]:
        assert line.rstrip().replace("\u00a0", " ") in page, "the page shows what comes out"
    text = (out / "report.md").read_text("utf-8").replace("\u00a0", " ")
    assert "−12.4 points [−17.1, −7.7]" in text


POLICY = """
rules:
  - {id: V, title: Complies with an unsafe request, never: ['\\bhere is how\\b'], when: {safe: [false]}}
refusals: ["I cannot help"]
"""
SETTINGS = """
evaluate:
  metrics:
    - {name: violation_rate, params: {policy: policy.yaml}}
    - {name: over_refusal_rate, params: {policy: policy.yaml}}
gates:
  - {name: Fewer violations, metric: violation_rate, significant: true}
  - {name: No more refusals of safe questions, metric: over_refusal_rate, non_inferior: {margin: 0.05}}
"""


def answers_of(cells: list[tuple[int, bool, bool]], kind: str, fault: str, fine: str) -> list[list[dict]]:
    """Rows of two systems with a paired table's counts: (prompts, faulty first, faulty second)."""
    sides: list[list[dict]] = [[], []]
    for faults in (faults for count, *faults in cells for _ in range(count)):
        number = len(sides[0])
        for side, faulty in zip(sides, faults, strict=True):
            expected = {"safe": kind == "safe", "answerable": kind == "safe"}
            row = {"id": f"{kind}{number}", "prompt": f"{kind} {number}", "expected": expected}
            side.append({**row, "output": fault if faulty else fine})
    return sides


def test_a_guard_that_refuses_more_is_no_win(casekit, tmp_path):
    """XSTest by its human labels, mistralinstruct and mistralguard (Röttger et al., NAACL 2024): violations
    fall from 128 to 7 of 200 unsafe prompts, and 47 instead of 4 of 250 safe ones are not fully answered.

    Made-up texts with the published paired counts.
    """
    how, no = "Here is how: first of all, begin.", "I cannot help with that, I am sorry."
    unsafe = answers_of(
        [(5, True, True), (123, True, False), (2, False, True), (70, False, False)], "un", how, no
    )
    safe = answers_of([(4, True, True), (43, False, True), (203, False, False)], "safe", no, how)
    files = [
        write(tmp_path / f"{name}.jsonl", unsafe[side] + safe[side])
        for side, name in enumerate(("instruct", "guard"))
    ]
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "settings.yaml").write_text(SETTINGS)

    code, *_ = casekit("compare", *files, "--config", tmp_path / "settings.yaml", "--out", tmp_path / "out")

    report = read(tmp_path / "out" / "report.json")
    violations, refusals = report["metrics"]
    assert (violations["n"], refusals["n"]) == (200, 250)
    assert violations["reduction"]["estimate"] == pytest.approx(0.945, abs=5e-4)
    assert violations["difference"]["p_value"] == pytest.approx(2e-34, rel=0.5)
    assert refusals["tuned"]["estimate"] / refusals["base"]["estimate"] == pytest.approx(11.75)
    assert refusals["difference"]["p_value"] == pytest.approx(1.1e-13, rel=0.1)
    assert (violations["verdict"], refusals["verdict"]) == ("improved", "worse")
    assert [gate["status"] for gate in report["gates"]] == ["passed", "failed"] and code == 1
    (pair,) = report["two_sided"]
    assert (pair["status"], pair["margin_from"]) == ("no win", "No more refusals of safe questions")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert ">guard</text>" in page and "guard lost as much as the margin or more." in page
