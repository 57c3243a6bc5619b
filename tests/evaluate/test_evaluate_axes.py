"""Rubric points axis by axis, as a person meets them through `casekit compare`."""

import pytest
from compare_samples import casekit, read, write

from kit.evaluate.criteria import shares_by_axis

__all__ = ["casekit"]  # a fixture

RUBRIC = [
    {"points": 6, "name": "sends to emergency", "axis": "completeness", "say": ["ambulance"]},
    {"points": 2, "name": "says when", "axis": "completeness", "say": ["now"]},
    {"points": 4, "name": "is right", "axis": "accuracy | <b>", "say": ["chest"]},
    {"points": -8, "name": "names a dose", "axis": "accuracy | <b>", "say": ["mg"]},
    {"points": -3, "name": "is rude", "axis": "tone", "say": ["fool"]},
    {"points": 1, "say": ["please"]},
]


def test_shares_by_hand():
    scored = [("complete", 6, True), ("complete", 2, False), ("accurate", 4, True), ("accurate", -8, True)]
    assert shares_by_axis(scored) == {"complete": 6 / 8, "accurate": -1.0}
    assert shares_by_axis([("tone", -3, True), ("", 1, True)]) == {}, "no points above 0, and no axis"


def rows(answer, count=40):
    return [
        {
            "id": f"q{n:02}",
            "prompt": f"My chest hurts, case {n}.",
            "output": answer(n),
            "expected": {"rubric": RUBRIC if n % 4 else RUBRIC[:2]},
        }
        for n in range(count)
    ]


def test_the_points_of_each_axis_stand_in_every_face(casekit, tmp_path):
    def dosed(n):
        return "It is the chest: take 500 mg and wait." if n % 2 else "Call an ambulance for your chest."

    def silent(n):
        return "" if n == 1 else "Call an ambulance now, it may be your chest."

    old, new = write(tmp_path / "old.jsonl", rows(dosed)), write(tmp_path / "new.jsonl", rows(silent))
    assert casekit("compare", old, new, "-m", "rubric_score", "--out", tmp_path / "out")[0] == 0
    report = read(tmp_path / "out" / "report.json")
    axes = {part["axis"]: part for part in report["metrics"][0]["axes"]}
    assert list(axes) == ["accuracy | <b>", "completeness"], "tone has no points above 0, please has no axis"
    whole, some = axes["completeness"], axes["accuracy | <b>"]
    assert (whole["n"], some["n"]) == (40, 30), "a quarter of the rows have no criteria of accuracy"
    assert whole["base"]["estimate"] == pytest.approx(0.5 * 6 / 8)
    assert whole["tuned"]["estimate"] == pytest.approx(39 / 40), "an invalid answer meets nothing"
    # Of 30 rows the 20 of odd number name a dose, (4 - 8) / 4, and 10 are right: the mean is held at 0.
    assert some["base"]["estimate"] == 0 and some["tuned"]["estimate"] == pytest.approx(29 / 30)
    assert {part["difference"]["p_value"] for part in axes.values()} == {None}
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    text = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert "points by axis" in page and "accuracy | &lt;b&gt;" in page and "accuracy | <b>" not in page
    assert "points by axis" in text and "accuracy \\| &lt;b&gt; | 30 |" in text
    assert "0.375" in page and "0.375" in text


def test_without_axes_nothing_is_said_of_them(casekit, tmp_path):
    def plain(answer):
        return [row | {"expected": {"rubric": RUBRIC[5:]}} for row in rows(answer)]

    files = [
        write(tmp_path / name, plain(lambda n, said=said: said))
        for name, said in (("a.jsonl", "Yes, please."), ("b.jsonl", "No."))
    ]
    assert casekit("compare", *files, "-m", "rubric_score", "--out", tmp_path / "out")[0] == 0
    assert "axes" not in read(tmp_path / "out" / "report.json")["metrics"][0]
    assert "by axis" not in (tmp_path / "out" / "report.html").read_text("utf-8")
