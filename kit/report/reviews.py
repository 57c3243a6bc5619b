"""Reviewers' verdicts on single answers, from `reviews.jsonl`; carried over while the answer is the same.

The file is a log: lines are only added, and of one reviewer's lines on an answer the last one counts.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kit.config.errors import DataError, Problem
from kit.files import write_text
from kit.report.read import Json

FILE = "reviews.jsonl"
"""Its name in a project."""

State = Literal["holds", "answer changed", "not asked"]


class Review(BaseModel):
    """One line of `reviews.jsonl`: a reviewer's verdict on one answer."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )

    id: Annotated[str, Field(min_length=1)]
    """The prompt's id."""
    system: Literal["base", "tuned"] = "tuned"
    decoding: Literal["greedy", "sampled"] = "greedy"
    output_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of the answer that was read, as UTF-8."""
    verdict: Literal["accept", "reject"]
    note: str = ""
    reviewer: Annotated[str, Field(min_length=1)]
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}")]
    """ISO 8601, with or without a time."""


@dataclass(frozen=True)
class Carried:
    """A review, and whether it still speaks of the answer that is given now."""

    review: Review
    state: State


def output_sha256(output: str) -> str:
    """The hash that names an answer: of its text as UTF-8, a lone surrogate as it stands."""
    return hashlib.sha256(output.encode("utf-8", "surrogatepass")).hexdigest()


def latest(reviews: Sequence[Review]) -> list[Review]:
    """The reviews that count: of one reviewer's on an answer the last."""
    counted: dict[tuple[str, ...], Review] = {}
    for review in reviews:
        key = (review.id, review.system, review.decoding, review.reviewer)
        counted.pop(key, None)
        counted[key] = review
    return list(counted.values())


def read_reviews(path: Path) -> list[Review]:
    """All lines of a file of reviews, in their order; none where there is no file.

    Raises:
        DataError: every line that is no review, with its number.
    """
    if not path.is_file():
        return []
    reviews, problems = [], []
    # Only a line feed ends a line: a note may hold other separators.
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            reviews.append(Review.model_validate_json(line))
        except ValidationError as error:
            problems += [Problem(f"{path}:{number}", message, _hint()) for message in _messages(error)]
    if problems:
        raise DataError(problems)
    return reviews


def carry_over(reviews: Sequence[Review], items: Sequence[Json]) -> list[Carried]:
    """Every review with what became of its answer.

    Args:
        items: those of `scores.json`.
    """
    by_id = {item["id"]: item for item in items}
    carried = []
    for review in reviews:
        answers = by_id.get(review.id, {}).get(review.decoding)
        state: State = "not asked"
        if answers is not None:
            same = output_sha256(answers[review.system]["output"]) == review.output_sha256
            state = "holds" if same else "answer changed"
        carried.append(Carried(review, state))
    return carried


def reviews_json(carried: Sequence[Carried]) -> Json:
    """The `reviews` of `report.json`: counts of answers and the lines that they come from."""
    return {
        **count_reviews(carried),
        "lines": [{**entry.review.model_dump(mode="json"), "state": entry.state} for entry in carried],
    }


def count_reviews(carried: Sequence[Carried]) -> dict[str, int]:
    """How many answers are accepted and rejected, have changed since, or are no longer asked for.

    An answer that one reviewer accepts and another rejects is rejected.
    """
    said: dict[State, set[tuple[str, str, str]]] = {
        "holds": set(),
        "answer changed": set(),
        "not asked": set(),
    }
    rejected = set()
    for entry in carried:
        answer = (entry.review.id, entry.review.system, entry.review.decoding)
        said[entry.state].add(answer)
        if entry.state == "holds" and entry.review.verdict == "reject":
            rejected.add(answer)
    return {
        "accepted": len(said["holds"] - rejected),
        "rejected": len(rejected),
        "changed": len(said["answer changed"] - said["holds"]),
        "not_asked": len(said["not asked"]),
    }


def from_report(report: Json) -> list[Carried]:
    """The reviews as a `report.json` holds them."""
    return [
        Carried(Review(**{key: value for key, value in line.items() if key != "state"}), line["state"])
        for line in report["reviews"]["lines"]
    ]


def add_reviews(path: Path, reviews: Sequence[Review]) -> None:
    """Add lines to a project's reviews, or begin the file; a last line without an end gets one."""
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    if before and not before.endswith("\n"):
        before += "\n"
    lines = "".join(review.model_dump_json() + "\n" for review in reviews)
    write_text(path, before + lines)


def _messages(error: ValidationError) -> list[str]:
    """What is wrong with a line, each with the key it is about."""
    found = []
    for part in error.errors():
        key = ".".join(str(step) for step in part["loc"])
        given = "" if part["type"] in ("missing", "json_invalid") else f", found {str(part['input'])[:60]!r}"
        found.append(f"not a review: {f'`{key}`: ' if key else ''}{part['msg']}{given}")
    return found


def _hint() -> str:
    return (
        'a line is {"id", "system", "decoding", "output_sha256", "verdict": "accept" or "reject", "note", '
        '"reviewer", "date"}; correct it or take it out'
    )
