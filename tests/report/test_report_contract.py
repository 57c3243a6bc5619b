"""`report.json` and `scores.json` keep their published schema, and the schema says what is in them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from published import file_problems, problems
from report_samples import Sample, build, config
from saved_project import RECIPE, add_evaluation, read_lines, save_lines, save_yaml

from kit.evaluate.contract import SCHEMA
from kit.report.build import write_report
from kit.report.contract import FOLDER, SchemaName, json_schema, published, schema_text
from kit.report.schema_page import markdown_page

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("name", get_args(SchemaName))
def test_the_published_schema_is_that_of_the_types(name: Any, casekit: Run) -> None:
    stored = published(name).read_text(encoding="utf-8")
    assert stored == schema_text(name), (
        f"the fields changed: raise SCHEMA if schema {SCHEMA} was released, then run `make docs`"
    )
    jsonschema.Draft202012Validator.check_schema(json.loads(stored))
    if name in ("report", "scores"):
        code, out, _ = casekit({"report": "report", "scores": "evaluate"}[name], "--schema")
        assert (code, out) == (0, stored)


def test_the_reference_page_is_that_of_the_types() -> None:
    page = Path(__file__).parents[2] / "docs/reference/report-json.md"
    assert page.read_text(encoding="utf-8") == markdown_page(), "run `make docs`"


def test_every_schema_ever_published_says_its_number() -> None:
    files = sorted(FOLDER.glob("*.json"))
    assert {path.name for path in files} >= {f"{name}-{SCHEMA}.json" for name in get_args(SchemaName)}
    for path in files:
        tree = json.loads(path.read_text(encoding="utf-8"))
        assert path.stem.rpartition("-")[2] == str(tree["properties"]["schema"]["const"])


OPTIONAL = {
    "": {"worst_at_k"},
    "WithoutLeaks": {"worst_at_k"},
    "Item": {"sampled", "drawn", "judge"},
    "Metric": {"turns", "axes"},
    "Kept": {"turns", "axes"},
    "Difference": {"adjusted_p"},
    "SliceDifference": {"adjusted_p"},
    "Corrected": {"labelled"},
    "Judge": {"rubrics"},
    "RowRubrics": {"worst_at_k"},
    "Said": {"pairwise", "criteria"},
    "Labour": {"contained", "assumptions", "per_contact", "per_month", "saving_against_people"},
}
"""What is there only where it was asked for, or could be modelled."""


def test_every_object_with_named_fields_is_closed_and_complete() -> None:
    """An unknown field is an error, so that no field can be added without the schema."""
    for name in get_args(SchemaName):
        schema = json_schema(name)
        for title, part in {**schema["$defs"], "": schema}.items():
            if "properties" in part:
                assert part["additionalProperties"] is False, title
                optional = OPTIONAL.get(title, set())
                assert set(part["required"]) == set(part["properties"]) - optional, title


@pytest.mark.parametrize("changes", [{}, {"gates": [], "claims": []}])
def test_sample_reports_keep_the_schema(changes: dict[str, Any], tmp_path: Path) -> None:
    sample = build(tmp_path, prompts=60, settings=config(**changes))
    result = write_report(*sample.arguments)
    assert file_problems(result.folder / "report.json", "report") == []


def test_a_report_with_everything_in_it_keeps_the_schema(project: Path, casekit: Run) -> None:
    """Answers scored by the kit, a baseline, reviews, an earlier verdict, metrics made from sums."""
    assert casekit("report")[0] == 0
    costs = dict.fromkeys(("contacts", "minutes_per_contact", "hourly_wage", "inference_cost"), 10.0)
    shares = {"contained": "exact_match", "review_share": [0.0, 0.1, 0.2], "minutes_per_review": 1.0}
    metrics = [*RECIPE["evaluate"]["metrics"], "exact_match"]
    save_yaml(
        project / "conf/project.yaml",
        {"labour": {**shares, **costs}, "evaluate": {"metrics": metrics}},
    )
    add_evaluation(project, "second", faults=0.05, seed=2)
    item = read_lines(project / "reports/first/items.jsonl")[0]
    answer = item["greedy"]["tuned"]["output_sha256"]
    save_lines(
        project / "reviews.jsonl",
        [
            {"id": id_, "output_sha256": answer, "verdict": "reject", "reviewer": "Ann", "date": "2026-01-03"}
            for id_ in (item["id"], "0" * 16)
        ],
    )
    assert casekit("report", "--evaluation", "second")[0] == 0
    assert casekit("report", "--evaluation", "second", "--baseline", "first")[0] == 0
    assert file_problems(project / "evaluations/second/scores.json", "scores") == []
    assert file_problems(project / "reports/second/report.json", "report") == []
    report = json.loads((project / "reports/second/report.json").read_text())
    assert report["schema"] == SCHEMA
    assert report["baseline"]["metrics"] and report["reviews"]["lines"] and report["earlier"]
    assert report["labour"]["saving"] and report["latency"]["load"][1]["tuned"]["goodput"]


def test_a_field_more_or_less_breaks_it(sample: Sample) -> None:
    report = json.loads((write_report(*sample.arguments).folder / "report.json").read_text())
    assert problems(report, "report") == []
    (more,) = problems({**report, "surprise": 1}, "report")
    assert "surprise" in more
    report["gates"][0].pop("wanted")
    (less,) = problems(report, "report")
    assert "$.gates[0]" in less and "wanted" in less
