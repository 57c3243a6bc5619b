"""Verdicts of people on answers, carried over while the answer is the same: typed, or from the page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from saved_project import read_lines, rescore, save_lines

Run = Callable[..., tuple[int, str, str]]


def line(project: Path, id_: str, verdict: str = "accept", **changes: Any) -> dict[str, Any]:
    """A review of a prompt's tuned greedy answer as the report has it."""
    items = {item["id"]: item for item in read_lines(project / "reports/first/items.jsonl")}
    answer = items[id_]["greedy"]["tuned"]["output_sha256"]
    review = {
        "id": id_, "system": "tuned", "decoding": "greedy", "output_sha256": answer, "verdict": verdict,
        "note": "read twice", "reviewer": "Ann Lee", "date": "2026-01-03T09:00:00Z",
    }  # fmt: skip
    return {**review, **changes}


@pytest.fixture
def reported(project: Path, casekit: Run) -> Path:
    assert casekit("report")[0] == 0
    return project


def ids(project: Path) -> list[str]:
    return [item["id"] for item in read_lines(project / "reports/first/items.jsonl")]


def reviews_of(project: Path) -> dict[str, Any]:
    found = json.loads((project / "reports/first/report.json").read_text())["reviews"]
    assert isinstance(found, dict)
    return found


def counts(project: Path) -> tuple[int, int, int, int]:
    found = reviews_of(project)
    return found["accepted"], found["rejected"], found["changed"], found["not_asked"]


def change_answer(project: Path, id_: str, output: str) -> None:
    """Another model gave another answer."""
    path = project / "evaluations/first/predictions.jsonl"
    lines = read_lines(path)
    for found in lines:
        if (found["id"], found["system"], found["decoding"]) == (id_, "tuned", "greedy"):
            found["output"] = output
    save_lines(path, lines)
    rescore(project, path.parent)


def test_a_verdict_holds_while_the_answer_is_the_same(reported: Path, casekit: Run) -> None:
    kept, changed, rejected = ids(reported)[:3]
    save_lines(
        reported / "reviews.jsonl",
        [line(reported, kept), line(reported, changed), line(reported, rejected, "reject", note="rude")],
    )
    casekit("report")
    assert counts(reported) == (2, 1, 0, 0)

    change_answer(reported, changed, "The fund can lose value.")
    casekit("report")
    assert counts(reported) == (1, 1, 1, 0)
    states = {found["id"]: found["state"] for found in reviews_of(reported)["lines"]}
    assert states == {kept: "holds", changed: "answer changed", rejected: "holds"}
    html = (reported / "reports/first/report.html").read_text()
    markdown = (reported / "reports/first/report.md").read_text()
    for page in (html, markdown):
        assert "accepted, answer changed since" in page and "rude" in page
    assert "- Answer changed since: 1" in markdown

    change_answer(reported, changed, "The fund can fall in value at any time.")
    casekit("report")
    assert counts(reported) == (2, 1, 0, 0), "the answer is back, and so is the verdict"


def test_of_one_reviewers_lines_the_last_counts_and_any_rejection_rejects(
    reported: Path, casekit: Run
) -> None:
    id_ = ids(reported)[0]
    save_lines(
        reported / "reviews.jsonl", [line(reported, id_, "reject"), line(reported, id_, "accept", note="")]
    )
    casekit("report")
    assert counts(reported) == (1, 0, 0, 0)
    save_lines(
        reported / "reviews.jsonl",
        [line(reported, id_, "accept"), line(reported, id_, "reject", reviewer="Bob")],
    )
    casekit("report")
    assert counts(reported) == (0, 1, 0, 0)


def test_prompts_that_are_no_longer_asked_are_counted(reported: Path, casekit: Run) -> None:
    id_ = ids(reported)[0]
    save_lines(reported / "reviews.jsonl", [line(reported, id_, id="f" * 16)])
    casekit("report")
    assert counts(reported) == (0, 0, 0, 1)


def test_broken_lines_are_all_named_with_their_numbers(reported: Path, casekit: Run) -> None:
    id_ = ids(reported)[0]
    good = line(reported, id_)
    save_lines(
        reported / "reviews.jsonl",
        [
            good,
            {**good, "verdict": "maybe"},
            {key: value for key, value in good.items() if key != "reviewer"},
            {**good, "output_sha256": "abc"},
            {**good, "grade": 3},
        ],
    )
    with (reported / "reviews.jsonl").open("a") as file:
        file.write("\n{half a line\n")
    code, _, err = casekit("report")
    assert code == 2
    for number, what in ((2, "`verdict`"), (3, "`reviewer`"), (4, "`output_sha256`"), (5, "`grade`")):
        assert any(f"reviews.jsonl:{number}" in told and what in told for told in err.splitlines()), number
    assert "reviews.jsonl:7" in err and "'maybe'" in err
    assert "reviews.jsonl:1 " not in err


def test_lines_from_the_page_are_added_once(reported: Path, casekit: Run) -> None:
    first, second = ids(reported)[:2]
    save_lines(reported / "reviews.jsonl", [line(reported, first)])
    downloaded = reported / "downloaded.jsonl"
    save_lines(downloaded, [line(reported, first), line(reported, second, "reject")])
    code, out, _ = casekit("review", "--add", str(downloaded))
    assert code == 0 and "1 verdict added" in out
    assert [found["id"] for found in read_lines(reported / "reviews.jsonl")] == [first, second]
    assert "0 verdicts added" in casekit("review", "--add", str(downloaded))[1]

    save_lines(downloaded, [{"id": "x"}])
    before = (reported / "reviews.jsonl").read_bytes()
    code, _, err = casekit("review", "--add", str(downloaded))
    assert code == 2 and "downloaded.jsonl:1" in err
    assert (reported / "reviews.jsonl").read_bytes() == before
    assert casekit("review", "--add", "nowhere.jsonl")[0] == 2


def test_a_reviewer_at_the_terminal(
    reported: Path, casekit: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = iter(["Ann Lee", "what", "r", "promises a return", "s", "a", "", "q"])
    asked: list[str] = []

    def answer(question: str = "") -> str:
        asked.append(question)
        return next(said)

    monkeypatch.setattr("builtins.input", answer)
    code, out, _ = casekit("review", "first")
    assert code == 0
    assert "Is fund" in out and "base  " in out and "reference  " in out and "2 verdicts added" in out
    found = read_lines(reported / "reviews.jsonl")
    assert [(review["verdict"], review["note"], review["reviewer"]) for review in found] == [
        ("reject", "promises a return", "Ann Lee"),
        ("accept", "", "Ann Lee"),
    ]
    casekit("report")
    assert counts(reported)[:2] == (1, 1)

    said = iter(["s"] * 100)
    _, out, _ = casekit("review", "first", "--reviewer", "Bob")
    assert "0 verdicts added" in out
    shown = out.count("reference  ")
    assert out.count(f" of {shown}:") == shown, "answers that were judged are not asked again"


def test_reviews_are_text_on_the_page(reported: Path, casekit: Run) -> None:
    hostile = '</script><script>alert(1)</script><b>\u202e"'
    shown = json.loads((reported / "reports/first/report.json").read_text())
    assert shown
    save_lines(
        reported / "reviews.jsonl",
        [line(reported, id_, "reject", note=hostile, reviewer=hostile) for id_ in ids(reported)],
    )
    casekit("report")
    html = (reported / "reports/first/report.html").read_text()
    assert "<script>alert" not in html and "<b>\u202e" not in html
    assert html.count("&lt;script&gt;alert(1)") >= len(ids(reported))
