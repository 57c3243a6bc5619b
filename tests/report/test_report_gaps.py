"""How far the best and the worst language are apart, beside every metric's slices."""

from pathlib import Path
from typing import Any

import pytest
from report_samples import build

from kit.report.build import write_report
from kit.report.gaps import slice_gaps


def metric(*parts: tuple[str, str, float | None, float | None, bool], higher: bool = True) -> dict[str, Any]:
    slices = [
        {
            "column": column,
            "value": value,
            "base": {"estimate": base},
            "tuned": {"estimate": tuned},
            "tested": tested,
        }
        for column, value, base, tuned, tested in parts
    ]
    return {"higher_is_better": higher, "slices": slices}


SCORES = {"systems": {"base": "base", "tuned": "tuned"}}
THREE = (
    ("language", "en", 0.9, 0.95, True),
    ("language", "fr", 0.5, 0.92, True),
    ("language", "es", 0.4, 0.7, True),
)


def test_the_gap_is_the_best_less_the_worst_of_either_system() -> None:
    (told,) = slice_gaps(SCORES, metric(*THREE), "rate")
    told = told.replace("\u202f", " ").replace("\xa0", " ")
    assert told == (
        "Between the best and the worst language of 3: base 50.0 points, tuned 25.0 points. "
        "Worst with tuned: es, 70.0%."
    )
    (faults,) = slice_gaps(SCORES, metric(*THREE, higher=False), "rate")
    assert "Worst with tuned: en, 95.0%." in faults


@pytest.mark.parametrize(
    "parts",
    [
        THREE[:1],
        (THREE[0], ("language", "de", 0.1, 0.2, False)),  # too few prompts to test
        (THREE[0], ("language", "de", 0.1, None, True)),
        (THREE[0], ("topic", "returns", 0.1, 0.2, True)),  # another column
    ],
)
def test_one_value_has_no_gap(parts: Any) -> None:
    assert slice_gaps(SCORES, metric(*parts), "rate") == []


def test_it_stands_on_the_page_below_the_slices(tmp_path: Path) -> None:
    sample = build(tmp_path)
    metrics = sample.scores()["metrics"]
    (first,) = [entry for entry in metrics if entry["slices"]][:1]
    model = {**first["slices"][0], "tested": True, "column": "language"}
    first["slices"] = [{**model, "value": value} for value in ("en", "fr")]
    sample.change_scores(metrics=metrics)
    page = (write_report(*sample.arguments).folder / "report.html").read_text(encoding="utf-8")
    assert "Between the best and the worst language of 2: base 0.0" in page
