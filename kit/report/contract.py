"""The fields of `report.json`, defined once, and the published JSON Schemas of reports and scores.

The schemas stand in `kit/report/schemas/<name>-<number>.json`; `casekit report --schema` prints the report's,
`casekit evaluate --schema` that of the scores. Those of comparisons have types of their own. A file that was
released is never changed: a field that is added, renamed or taken away raises `kit.evaluate.contract.SCHEMA`,
which makes a new one beside it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import TypeAdapter
from typing_extensions import TypedDict, is_typeddict  # pydantic asks for this one before Python 3.12

from kit.evaluate import contract as scores_contract
from kit.evaluate import contract_judge, contract_metrics, contract_speed, contract_worst
from kit.evaluate.baseline import BaselineResult
from kit.evaluate.contract import SCHEMA, Head, Scores
from kit.evaluate.contract_parts import Count, closed
from kit.files import write_text
from kit.report import contract_comparison, contract_judged
from kit.report.contract_judged import Judged
from kit.report.reviews import Review, State

SchemaName = Literal["report", "scores", "comparison", "comparison-scores", "comparison-family"]
FOLDER = Path(__file__).parent / "schemas"


@closed
class Verdict(TypedDict):
    """The release decision."""

    status: Literal["passed", "failed", "not enough evidence", "invalid"]
    exit_code: Literal[0, 1, 3, 4]
    """What the command exits with."""
    sentence: str


class ReviewLine(Review):
    """A line of `reviews.jsonl`, and whether the answer is still the one that was read."""

    state: State


@closed
class Reviews(TypedDict):
    """Reviewers' verdicts, counted by answer, and the lines that they come from."""

    accepted: Count
    rejected: Count
    """An answer that any reviewer rejects."""
    changed: Count
    """Answers that are no longer the ones that were read."""
    not_asked: Count
    """Answers to prompts that this evaluation did not ask."""
    lines: list[ReviewLine]


@dataclass(frozen=True)
class Baseline(BaselineResult):
    """The comparison with a released report."""

    report: str
    """Its folder, from the project's root where it lies in it."""
    sha256: dict[str, str]
    """Of its `report.json` and its `items.jsonl`."""


@closed
class MadeWith(TypedDict):
    """The casekit that wrote the report."""

    kit_version: str
    kit_sha256: str
    """Over its files."""


@closed
class Report(Head, Judged):
    """`reports/<id>/report.json`: the scores without their items, and what the gates say of them."""

    verdict: Verdict
    seed_evaluations: list[str]
    """The evaluations that differ by the training seed only, this one's among them."""
    baseline: Baseline | None
    reviews: Reviews
    made_with: MadeWith
    inputs: dict[str, str]
    """Every file that the numbers come from, by its path in the project -> sha256."""
    faces: dict[str, str]
    """Every other file of the report -> sha256."""


_FILES: dict[SchemaName, tuple[Any, str]] = {
    "report": (Report, "report.json"),
    "scores": (Scores, "scores.json"),
    "comparison": (contract_comparison.Comparison, "report.json of a comparison"),
    "comparison-scores": (contract_comparison.ComparisonScores, "scores.json of a comparison"),
    "comparison-family": (contract_comparison.Family, "report.json of several comparisons"),
}
"""What holds each file's fields, and what the file is called."""


def json_schema(name: SchemaName) -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) made from the types; objects with named fields have no others."""
    kind, title = _FILES[name]
    schema = TypeAdapter(kind).json_schema(mode="serialization")
    _close(schema)
    _describe(kind, schema)
    modules = (
        contract_speed,
        contract_metrics,
        contract_judge,
        contract_worst,
        scores_contract,
        contract_judged,
        contract_comparison,
    )
    types_by_name = {**{k: v for module in modules for k, v in vars(module).items()}, **globals()}
    for inner, part in schema["$defs"].items():
        _describe(types_by_name.get(inner), part)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://github.com/casekit/casekit/schemas/{name}-{SCHEMA}.json",
    }
    return {**head, **schema, "title": f"casekit {title}, schema {SCHEMA}"}


def schema_text(name: SchemaName) -> str:
    """A schema as its published file holds it."""
    return json.dumps(json_schema(name), indent=2, ensure_ascii=False) + "\n"


def published(name: SchemaName) -> Path:
    """The published file of today's schema."""
    return FOLDER / f"{name}-{SCHEMA}.json"


def publish() -> None:
    """Write today's schemas where they are published; `make docs` does."""
    for name in get_args(SchemaName):
        write_text(published(name), schema_text(name))


def _describe(kind: Any, part: dict[str, Any]) -> None:
    """Put in what the fields that a type inherits mean: pydantic reads a type's own docstrings only."""
    for base in getattr(kind, "__orig_bases__", ()):
        if not is_typeddict(base):
            continue
        inherited = TypeAdapter(base).json_schema(mode="serialization")
        _describe(base, inherited)
        for name, field in inherited["properties"].items():
            if "description" in field:
                part["properties"][name].setdefault("description", field["description"])


def _close(part: Any) -> None:
    if isinstance(part, dict):
        if "properties" in part:
            part["additionalProperties"] = False
        for inner in part.values():
            _close(inner)
    elif isinstance(part, list):
        for inner in part:
            _close(inner)


if __name__ == "__main__":
    publish()
