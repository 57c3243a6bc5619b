"""How rows spread over slices and labels: what the report could not test, and what a model could guess."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kit.config.schema import Config
from kit.data.check import Findings
from kit.data.rows import SPLITS, Row, as_text
from kit.data.sides import Sides, median
from kit.data.words import words

SMALLEST_TESTED_SLICE = 30
"""Slices of fewer groups are shown, not tested: their intervals say too little, and many are looked at."""
MOST_LABEL_VALUES = 20
"""A column of `data.expected` with more values is no label but a text of its own."""
ONE_ANSWER_SHARE = 0.95
"""If one value of a label has this share of the rows, always saying it scores as much."""
LENGTH_RATIO = 2.0
"""A slice's answers are biased if their median is so many times that of the others, or the reverse."""


@dataclass
class Members:
    """The rows with one value of a column."""

    splits: Counter[str] = field(default_factory=Counter)
    test_groups: set[str] = field(default_factory=set)
    answer_words: Counter[int] = field(default_factory=Counter)
    """Length of the last answer in words -> rows."""

    def add(self, row: Row, answer_words: int) -> None:
        self.splits[str(row.split)] += 1
        self.answer_words[answer_words] += 1
        if row.split == "test":
            self.test_groups.add(row.group)

    @property
    def rows(self) -> int:
        return self.splits.total()


ByValue = dict[str, Members]


@dataclass
class Balance:
    """Rows by the values of the columns of `data.slices`, and of those of `data.expected` that are labels."""

    slices: dict[str, ByValue]
    labels: dict[str, ByValue]
    sides: Sides
    """Of preferences."""


def count_values(rows: Iterable[Row], config: Config) -> Balance:
    """Count rows by slice and by label, the most frequent value first."""
    slices: dict[str, ByValue] = {column: {} for column in config.data.slices}
    labels: dict[str, ByValue] = {column: {} for column in config.data.expected if column not in slices}
    sides = Sides()
    for row in rows:
        sides.add(row)
        length = len(words(row.messages[-1]["content"])) if slices or labels else 0
        for column, values in slices.items():
            values.setdefault(as_text(row.fields.get(column)), Members()).add(row, length)
        for column, values in list(labels.items()):
            value = row.fields.get(column)
            if value is None:
                continue
            values.setdefault(as_text(value), Members()).add(row, length)
            if isinstance(value, list | dict) or len(values) > MOST_LABEL_VALUES:
                del labels[column]  # a text of its own, no label
    return Balance(
        slices={column: _most_first(values) for column, values in slices.items()},
        labels={column: _most_first(values) for column, values in labels.items() if values},
        sides=sides,
    )


def check_balance(balance: Balance, findings: Findings) -> None:
    """Note what is rare, constant or biased.

    Noted are slices with fewer than 30 groups in test, labels with one value nearly throughout, and
    slices whose answers are twice as long, or half as long, as the others'.
    """
    if not findings.on("balance"):
        return
    for column, values in balance.slices.items():
        everything = sum((members.answer_words for members in values.values()), Counter[int]())
        for value, members in values.items():
            _note_rare(column, value, members, findings)
            _note_length(column, value, members, everything, findings)
    for column, values in [*balance.slices.items(), *balance.labels.items()]:
        _note_constant(column, values, findings)
    balance.sides.note(findings)


def values_of(balance: Balance) -> list[dict[str, Any]]:
    """Every value with its counts, for `data.json`."""
    return [
        _entry(kind, column, value, members)
        for kind, columns in (("slice", balance.slices), ("label", balance.labels))
        for column, values in columns.items()
        for value, members in values.items()
    ]


def _most_first(values: ByValue) -> ByValue:
    return dict(sorted(values.items(), key=lambda item: (-item[1].rows, item[0])))


def _entry(kind: str, column: str, value: str, members: Members) -> dict[str, Any]:
    return {
        "kind": kind,
        "column": column,
        "value": value,
        "rows": members.rows,
        **{split: members.splits[split] for split in SPLITS},
        "test_groups": len(members.test_groups),
        "answer_words": median(members.answer_words),
    }


def _note_rare(column: str, value: str, members: Members, findings: Findings) -> None:
    groups = len(members.test_groups)
    if groups < SMALLEST_TESTED_SLICE:
        text = f"{groups} groups in test, the report tests slices of {SMALLEST_TESTED_SLICE} and more"
        findings.note("balance", f"{column}={value}", f"{text} ({members.rows} rows in all)")


def _note_length(
    column: str, value: str, members: Members, everything: Counter[int], findings: Findings
) -> None:
    others = everything - members.answer_words
    if min(members.rows, others.total()) < SMALLEST_TESTED_SLICE:
        return
    here, there = median(members.answer_words), median(others)
    if here != there and max(here, there) >= LENGTH_RATIO * min(here, there):  # a call alone has no words
        text = f"answers have {here:g} words, those of the other rows {there:g} (medians)"
        findings.note("balance", f"{column}={value}", text)


def _note_constant(column: str, values: ByValue, findings: Findings) -> None:
    total = sum(members.rows for members in values.values())
    value, members = next(iter(values.items()), ("", Members()))
    if total >= SMALLEST_TESTED_SLICE and members.rows >= ONE_ANSWER_SHARE * total:
        text = f"{members.rows} of {total} rows have this value: always saying it is right as often"
        findings.note("balance", f"{column}={value}", text)
