"""Answers that are compared as they are given: a JSONL file that any program can write.

One line an answer: `id`, `prompt` (the last user message) and `output`; where they are known `expected`
(labels and facts for metrics), `answer` (the reference answer), `slices`, `group` (rows of one group are no
independent witnesses) and `finished` (false for an answer that hit a token limit). Of several answers to a
prompt `sample` says which: 0, 1, … (`kit.evaluate.given_rows`).
"""

import json
from dataclasses import dataclass, field
from json import JSONDecodeError
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kit.config.errors import DataError, Problem
from kit.config.explain import suggest
from kit.data.flags import FLAGS, flag_of
from kit.data.json_text import fault, not_json, parse
from kit.data.rows import as_text
from kit.evaluate.given_rows import GivenRow, add_sample, joined, uneven
from kit.files import sha256_json

_MOST_PROBLEMS = 20
_HINT = 'one JSON object a line: {"id": …, "prompt": …, "output": …, "expected": {…}}'


class GivenLine(BaseModel):
    """A line of the file; null is the same as left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    id: str | int
    prompt: str
    output: str
    expected: dict[str, Any] | None = None
    answer: str | None = None
    slices: dict[str, str | int | float | bool | None] | None = None
    group: str | int | None = None
    finished: bool | None = None
    sample: Annotated[int, Field(ge=0)] | None = None


@dataclass(frozen=True)
class Given:
    """All answers of one system.

    `made_elsewhere` says that nobody knows how the answers were drawn; `conditions` what is known of them.
    """

    name: str
    path: Path
    """The file that holds the answers."""
    rows: dict[str, GivenRow]
    """By the prompt's id."""
    made_elsewhere: bool
    synthetic: bool = False
    model: str = ""
    conditions: dict[str, Any] = field(default_factory=dict)

    @property
    def decodings(self) -> set[str]:
        """The decodings under which every prompt was answered."""
        return set.intersection(*(set(row.outputs) for row in self.rows.values()))

    @property
    def answers(self) -> int:
        """How many answers to each prompt there are."""
        return max(1, min(len(row.drawn) for row in self.rows.values()))

    @property
    def sha256(self) -> str:
        """A hash of prompts and answers, whatever the order of their lines."""
        return sha256_json(
            [
                [id_, row.prompt, dict(row.outputs), *([list(row.drawn)] if row.drawn else [])]
                for id_, row in sorted(self.rows.items())
            ]
        )


def read_given(path: Path) -> Given:
    """Read a file of answers.

    Raises:
        DataError: it cannot be read, or holds lines that are no answers, fields that nobody knows, answers
            that stand twice or prompts with fewer answers than others; all problems at once, up to twenty.
    """
    problems: list[Problem] = []
    found: dict[str, dict[int, GivenRow]] = {}
    unknown: dict[str, list[str]] = {}
    for number, text in enumerate(_lines(path), start=1):
        where = f"{path}:{number}"
        if not text.strip():
            continue
        line = _line(text, where, unknown, problems)
        if line is None:
            continue
        add_sample(found, str(line.id), line.sample, _row(line, where, problems), problems)
    problems += [_unknown_field(name, places) for name, places in unknown.items()]
    rows = {id_: joined(id_, samples, problems) for id_, samples in found.items()}
    problems += uneven(path, {id_: max(1, len(row.drawn)) for id_, row in rows.items()})
    if not rows and not problems:
        problems.append(Problem(str(path), "holds no answer", _HINT))
    if problems:
        left = len(problems) - _MOST_PROBLEMS
        more = [Problem(str(path), f"and {left} more problems of the kind")] if left > 0 else []
        raise DataError(problems[:_MOST_PROBLEMS] + more)
    return Given(path.name, path, rows, made_elsewhere=True, conditions={"answers": path.name})


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(Problem(str(path), f"not UTF-8: {error.reason}", "save the file as UTF-8")) from error
    except OSError as error:
        raise DataError(Problem(str(path), f"cannot be read: {error.strerror}")) from error


def _line(text: str, where: str, unknown: dict[str, list[str]], problems: list[Problem]) -> GivenLine | None:
    """The line, or None where it is none; fields that nobody knows are noted by name."""
    try:
        value = parse(text)
    except (JSONDecodeError, ValueError) as error:
        said = not_json(error) if isinstance(error, JSONDecodeError) else str(error)
        problems.append(Problem(where, said, _HINT))
        return None
    if reason := fault(value) or _half_characters(value):
        problems.append(Problem(where, reason, _HINT))
        return None
    try:
        return GivenLine.model_validate(value)
    except ValidationError as error:
        # Each member of a union complains for itself: one problem a field is enough.
        found = {str(details["loc"][0]) if details["loc"] else "": details for details in error.errors()}
        for name, details in found.items():
            if details["type"] == "extra_forbidden":
                unknown.setdefault(name, []).append(where)
            else:
                problems.append(_wrong_field(where, name, details["type"], value))
        return None


def _half_characters(value: Any) -> str:
    """That a text holds half of a surrogate pair, which no file could be written with; or nothing."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return f"holds half of a surrogate pair ({error.object[error.start]!a}), which is no character"
    return ""


def _wrong_field(where: str, name: str, kind: str, line: Any) -> Problem:
    if not name:
        return Problem(where, f"expected a JSON object, found {as_text(line)[:60]!r}", _HINT)
    if kind == "missing":
        return Problem(where, f"`{name}` is missing", _HINT)
    wanted = {
        "id": "text or a whole number",
        "group": "text or a whole number",
        "expected": "an object",
        "slices": "an object of texts and numbers",
        "finished": "true or false",
        "sample": "a whole number from 0 on",
    }
    said = f"`{name}` is {as_text(line[name])[:60]!r}, expected {wanted.get(name, 'text')}"
    return Problem(where, said, _HINT)


def _unknown_field(name: str, places: list[str]) -> Problem:
    known = list(GivenLine.model_fields)
    hint = f"{suggest(name, known, 'known')}; labels and facts belong into `expected`"
    lines = "" if len(places) == 1 else f", here and on {len(places) - 1} more lines"
    return Problem(places[0], f"unknown field `{name}`{lines}", hint)


def _row(line: GivenLine, where: str, problems: list[Problem]) -> GivenRow:
    finished = line.finished is not False
    slices = None if line.slices is None else {name: as_text(value) for name, value in line.slices.items()}
    return GivenRow(
        where=where,
        prompt=line.prompt,
        outputs={"greedy": {"output": line.output, "finished": finished}},
        expected=None if line.expected is None else _with_flags(line.expected, where, problems),
        answer=line.answer,
        slices=slices,
        group=None if line.group is None else str(line.group),
    )


def _with_flags(expected: dict[str, Any], where: str, problems: list[Problem]) -> dict[str, Any]:
    """The labels with flags as true and false, as prepared data has them; what is neither is a problem."""
    read: dict[str, bool | None] = {}
    for name in FLAGS:
        try:
            read |= {name: flag_of(expected[name])} if name in expected else {}
        except ValueError as error:
            problems.append(Problem(where, f"`expected.{name}`: {error}", "leave it out where nobody knows"))
    return expected | read
