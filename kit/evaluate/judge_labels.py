"""Answers that people labelled, which a judge is held to: `evaluate.judge.labels`.

One JSON object a line. `{"id", "system", "label"}` labels a system's greedy answer to a test prompt; with
`output` it is that text which was labelled, whatever the system says today. `{"prompt", "output", "label"}`,
with or without `system`, is an answer made elsewhere; columns named by `data.slices` may stand beside.
With `criterion` the label, `met` or `not met`, is of that criterion of the row's own rubric.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.config.errors import DataError, Problem
from kit.config.schema_judge import Rubric
from kit.data.json_text import not_json
from kit.evaluate.prompts import Prompt
from kit.evaluate.rubric import CRITERION
from kit.evaluate.timing import SYSTEMS

_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class LabelRow:
    """One answer and what people say of it."""

    where: str
    """`file:line`."""
    id: str | None
    prompt: str | None
    system: str | None
    output: str | None
    """None: the system's own answer to the test prompt `id`."""
    label: str
    slices: dict[str, str]
    criterion: str | None = None
    """The criterion of the row's rubric that the label is of, in its words; None: of the whole answer."""


@dataclass(frozen=True)
class Labelled:
    """A labelled answer with what the judge made of it."""

    system: str | None
    group: str
    slices: Mapping[str, str]
    label: str
    verdict: str


def read_labels(
    path: Path, rubric: Rubric, slices: Sequence[str], row_rubrics: bool = False
) -> list[LabelRow]:
    """The labelled answers of a file.

    Args:
        rubric: its verdicts are the labels that may be given.
        slices: columns that say which slice an answer made elsewhere is of.
        row_rubrics: whether criteria of rows' rubrics are judged, so that they may be labelled.

    Raises:
        DataError: the file is not there or holds none; lines that cannot be used, all at once.
    """
    hint = (
        'a line reads {"id": …, "system": "base|tuned", "label": …} or {"prompt": …, "output": …, "label": …}'
    )
    if not path.is_file():
        raise DataError(Problem(str(path), "no such file, named by `evaluate.judge.labels`", hint))
    rows: list[LabelRow] = []
    problems: list[Problem] = []
    asked = {False: rubric, True: CRITERION if row_rubrics else None}
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            rows.append(_row(where, json.loads(line), asked, slices))
        except json.JSONDecodeError as error:
            problems.append(Problem(where, not_json(error), hint))
        except ValueError as error:
            problems.append(Problem(where, str(error), hint))
    problems += [] if problems else _contradictions(rows)
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        rest = [Problem(str(path), f"and {more} more such lines")] if more > 0 else []
        raise DataError(problems[:_MOST_PROBLEMS] + rest)
    if not rows:
        raise DataError(Problem(str(path), "holds no labelled answer", hint))
    return rows


def _row(where: str, record: Any, asked: Mapping[bool, Rubric | None], slices: Sequence[str]) -> LabelRow:
    """A line as a row.

    Args:
        asked: by which rubric whole answers (False) and criteria (True) are labelled; None: they are not.

    Raises:
        ValueError: what is wrong with it.
    """
    if not isinstance(record, dict):
        raise ValueError(f"found {type(record).__name__}, expected an object")
    texts = {key: _text(record, key) for key in ("id", "prompt", "system", "output", "criterion")}
    rubric = asked[texts["criterion"] is not None]
    if rubric is None:
        raise ValueError("labels a `criterion`, which is judged with `evaluate.judge.row_rubrics: true` only")
    names = {verdict.casefold(): verdict for verdict in rubric.verdicts}
    label = record.get("label")
    given = str(label).strip().casefold()
    if isinstance(label, bool) or not isinstance(label, str | int) or given not in names:
        raise ValueError(f"`label` is {json.dumps(label)}; the rubric has {', '.join(names.values())}")
    if texts["system"] not in (None, *SYSTEMS):
        raise ValueError(f"`system` is {texts['system']!r}; it is base or tuned")
    if texts["criterion"] is not None and (texts["id"] is None or texts["system"] is None):
        raise ValueError("a labelled `criterion` takes the `id` of its test prompt and the `system`")
    if texts["output"] is None and (texts["id"] is None or texts["system"] is None):
        raise ValueError("without `output` it takes `id` and `system` to say which answer was labelled")
    if texts["output"] is not None and texts["id"] is None and texts["prompt"] is None:
        raise ValueError("`output` needs the `prompt` it answers, or the `id` of a test prompt")
    own = {name: str(record[name]) for name in slices if record.get(name) is not None}
    return LabelRow(where=where, label=names[given], slices=own, **texts)


def _text(record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"`{key}` is {json.dumps(value)[:60]}; it is text")
    return value


def _contradictions(rows: Sequence[LabelRow]) -> list[Problem]:
    """Answers that were given two labels."""
    first: dict[tuple[str | None, ...], LabelRow] = {}
    problems = []
    for row in rows:
        key = (row.id, row.prompt, row.system, row.output, row.criterion)
        before = first.setdefault(key, row)
        if before is not row:
            message = f"labels the answer of {before.where} again, {row.label!r} after {before.label!r}"
            problems.append(Problem(row.where, message, "keep the label that people agreed on"))
    return problems


def labelled(row: LabelRow, prompts: Mapping[str, Prompt], verdict: str) -> Labelled:
    """A label with what the judge said of its answer.

    Args:
        prompts: those of the evaluation, by id.
    """
    known = prompts.get(row.id or "")
    return Labelled(
        system=row.system,
        group=known.group if known else row.prompt or row.where,
        slices={**(known.slices if known else {}), **row.slices},
        label=row.label,
        verdict=verdict,
    )
