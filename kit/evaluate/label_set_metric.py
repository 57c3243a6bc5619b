"""What the metrics of sets of labels share: which labels a free answer names, and the counts of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kit.evaluate.item_metric import CorpusMetric, Judgement, Reference
from kit.evaluate.negation import negated
from kit.evaluate.statistics import Floats
from kit.evaluate.text import normalise, phrase_pattern

Spans = list[tuple[int, int, str]]


class LabelSetMetric(CorpusMetric, ABC):
    """Counts the labels that answers name undenied, of those that any row expects, added up over answers."""

    about = "agreement"
    kind = "score"
    higher_is_better = True
    invalid_item = 0.0
    label_key = "labels"
    names: dict[str, str]
    """Every name of every label, normalised: name -> label."""

    def prepare(self, references: Sequence[Reference], **params: Any) -> None:
        """Take the labels of all rows, and those of `labels` (the same lists), which no row may expect.

        Raises:
            TypeError: something else than `labels`, a list, was given.
        """
        given = params.get("labels", [])
        if set(params) - {"labels"} or not isinstance(given, list):
            raise TypeError(f"{self.name} takes one parameter, labels=[...]; found {params}")
        self.names = {}
        for labels in ({"labels": given}, *references):
            for usual, *others in _expected(labels):
                label = self.names.setdefault(usual, usual)
                for other in others:
                    self.names.setdefault(other, label)

    def applies(self, reference: Reference) -> bool:
        """Whether the row expects `labels`; an empty list expects that none is named."""
        return isinstance(reference.get("labels"), list | str)

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """The answer's own figure, with whether it misses a label and whether it names one wrongly."""
        named, expected = self.named_and_expected(prediction, reference)
        reasons = ["misses an expected label"] if expected - named else []
        reasons += ["names a label that is not expected"] if named - expected else []
        nothing_due = not named and not expected
        own = np.array(counts_of(named, expected))
        return 1.0 if nothing_due else float(self.statistic_of_all(own)), reasons

    def counts(self, prediction: str, reference: Reference) -> list[float]:
        """Labels named and expected, named, expected."""
        return counts_of(*self.named_and_expected(prediction, reference))

    @abstractmethod
    def statistic_of_all(self, sums: Floats) -> Floats:
        """The figure of counts of all labels together: named and expected, named, expected."""

    def statistic(self, sums: Floats) -> Floats:
        """The figure of each row of sums."""
        return self.statistic_of_all(sums)

    def named_and_expected(self, prediction: str, reference: Reference) -> tuple[set[str], set[str]]:
        """The labels an answer names, and those that it should."""
        expected = {self.names.get(usual, usual) for usual, *_ in _expected(reference)}
        return self._named(prediction), expected

    def _named(self, prediction: str) -> set[str]:
        """The labels an answer names undenied; within a longer name ("diabetes insipidus") none is."""
        text = normalise(prediction)
        spans: Spans = [
            (*found.span(), label)
            for name, label in self.names.items()
            for found in phrase_pattern(name).finditer(text)
        ]
        return {label for start, end, label in _longest(spans) if not negated(text, start, end)}


def counts_of(named: set[str], expected: set[str]) -> list[float]:
    """Labels named and expected, named, expected."""
    return [float(len(named & expected)), float(len(named)), float(len(expected))]


def f1(sums: Floats) -> Floats:
    """2·right / (named + expected) of the last axis' three counts; 0 where nothing was named or expected."""
    return share(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def share(part: Floats, whole: Floats) -> Floats:
    """Part by whole; 0 where there is no whole."""
    result: Floats = part / np.where(whole > 0, whole, 1)
    return result


def _expected(reference: Reference) -> Iterator[list[str]]:
    """Each label's names, normalised, the usual one first."""
    listed = reference.get("labels") or []
    for entry in listed if isinstance(listed, list) else [listed]:
        names = [normalise(str(name)).casefold() for name in (entry if isinstance(entry, list) else [entry])]
        names = [name for name in names if name]
        if names:
            yield names


def _longest(spans: Spans) -> Spans:
    """Those that lie within no longer one."""
    return [
        one
        for one in spans
        if not any(
            other[0] <= one[0] and one[1] <= other[1] and other[1] - other[0] > one[1] - one[0]
            for other in spans
        )
    ]
