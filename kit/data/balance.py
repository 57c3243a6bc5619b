"""How rows spread over slices and labels: what the report could not test, and what a model could guess."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from kit.config.schema import Config
from kit.data.check import Findings
from kit.data.rows import SPLITS, Row, as_text
from kit.data.words import words

SMALLEST_TESTED_SLICE = 30
"""Slices of fewer groups are shown, not tested: their intervals say too little, and many are looked at."""
MOST_LABEL_VALUES = 20
"""A column of `data.expected` with more values is no label but a text of its own."""
ONE_ANSWER_SHARE = 0.95
"""If one value of a label has this share of the rows, always saying it scores as much."""
LENGTH_RATIO = 2.0
"""A slice's answers are biased if their median is so many times that of the others, or the reverse."""


@dataclass(frozen=True)
class _Answered:
    row: Row
    words: int


def check_balance(rows: Sequence[Row], config: Config, findings: Findings) -> None:
    """Count rows by slice and by label into `data.json`, and note what is rare, constant or biased.

    Noted are slices with fewer than 30 groups in test, labels with one value nearly throughout, and
    slices whose answers are twice as long, or half as long, as the others'.
    """
    if not findings.on("balance"):
        return
    answered = [_Answered(row, len(words(row.messages[-1]["content"]))) for row in rows]
    slices = {column: _by_value(answered, column) for column in config.data.slices}
    labels = {
        column: values
        for column in config.data.expected
        if column not in slices and (values := _by_label(answered, column))
    }
    findings.facts["balance"] = [
        _entry(kind, column, value, members)
        for kind, columns in (("slice", slices), ("label", labels))
        for column, values in columns.items()
        for value, members in values.items()
    ]
    for column, values in slices.items():
        for value, members in values.items():
            _note_rare(column, value, members, findings)
            _note_length(column, value, members, values, findings)
    for column, values in [*slices.items(), *labels.items()]:
        _note_constant(column, values, findings)


def _by_value(answered: Iterable[_Answered], column: str) -> dict[str, list[_Answered]]:
    """Rows by the value of a column, the most frequent first."""
    found: defaultdict[str, list[_Answered]] = defaultdict(list)
    for each in answered:
        found[as_text(each.row.fields.get(column))].append(each)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def _by_label(answered: Sequence[_Answered], column: str) -> dict[str, list[_Answered]]:
    """As `_by_value`, of the rows that have a value; empty if these are lists, objects or too many."""
    having = [each for each in answered if each.row.fields.get(column) is not None]
    if any(isinstance(each.row.fields[column], list | dict) for each in having):
        return {}
    values = {as_text(each.row.fields[column]) for each in having}
    return _by_value(having, column) if len(values) <= MOST_LABEL_VALUES else {}


def _entry(kind: str, column: str, value: str, members: Sequence[_Answered]) -> dict[str, Any]:
    splits = Counter(each.row.split for each in members)
    return {
        "kind": kind,
        "column": column,
        "value": value,
        "rows": len(members),
        **{split: splits[split] for split in SPLITS},
        "test_groups": _test_groups(members),
        "answer_words": median(each.words for each in members),
    }


def _test_groups(members: Iterable[_Answered]) -> int:
    return len({each.row.group for each in members if each.row.split == "test"})


def _note_rare(column: str, value: str, members: Sequence[_Answered], findings: Findings) -> None:
    groups = _test_groups(members)
    if groups < SMALLEST_TESTED_SLICE:
        text = f"{groups} groups in test, the report tests slices of {SMALLEST_TESTED_SLICE} and more"
        findings.note("balance", f"{column}={value}", f"{text} ({len(members)} rows in all)")


def _note_length(
    column: str,
    value: str,
    members: Sequence[_Answered],
    values: Mapping[str, Sequence[_Answered]],
    findings: Findings,
) -> None:
    others = [each.words for name, others in values.items() if name != value for each in others]
    if min(len(members), len(others)) < SMALLEST_TESTED_SLICE:
        return
    here, there = median(each.words for each in members), median(others)
    if max(here, there) >= LENGTH_RATIO * min(here, there):
        text = f"answers have {here:g} words, those of the other rows {there:g} (medians)"
        findings.note("balance", f"{column}={value}", text)


def _note_constant(column: str, values: Mapping[str, Sequence[_Answered]], findings: Findings) -> None:
    total = sum(len(members) for members in values.values())
    value, members = next(iter(values.items()), ("", ()))
    if total >= SMALLEST_TESTED_SLICE and len(members) >= ONE_ANSWER_SHARE * total:
        text = f"{len(members)} of {total} rows have this value: always saying it is right as often"
        findings.note("balance", f"{column}={value}", text)
