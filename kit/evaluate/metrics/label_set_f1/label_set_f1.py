"""Micro-F1 of sets of labels named in free answers: diagnoses, departments, topics."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kit.evaluate.item_metric import CorpusMetric, Judgement, Reference
from kit.evaluate.negation import negated
from kit.evaluate.statistics import Floats
from kit.evaluate.text import normalise, phrase_pattern

Spans = list[tuple[int, int, str]]


class LabelSetF1(CorpusMetric):
    """2·right / (named + expected) over all answers, of the labels that any row expects."""

    label = "Sets of labels right (micro-F1)"
    about = "agreement"
    kind = "score"
    higher_is_better = True
    invalid_item = 0.0
    label_key = "labels"
    formula = "2·right / (labels named + labels expected), added up over all prompts"
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
        """The answer's own F1, with how many labels it misses and how many it names wrongly."""
        right, given, expected = self.counts(prediction, reference)
        reasons = ["misses an expected label"] if right < expected else []
        reasons += ["names a label that is not expected"] if right < given else []
        nothing_due = not given and not expected
        return 1.0 if nothing_due else float(self.statistic(np.array([right, given, expected]))), reasons

    def counts(self, prediction: str, reference: Reference) -> list[float]:
        """Labels named and expected, named, expected."""
        expected = {self.names.get(usual, usual) for usual, *_ in _expected(reference)}
        named = self._named(prediction)
        return [float(len(named & expected)), float(len(named)), float(len(expected))]

    def statistic(self, sums: Floats) -> Floats:
        """Micro-F1 of each row of sums; 0 where nothing was named or expected."""
        there = sums[..., 1] + sums[..., 2]
        score: Floats = 2 * sums[..., 0] / np.where(there > 0, there, 1)
        return score

    def _named(self, prediction: str) -> set[str]:
        """The labels an answer names undenied; within a longer name ("diabetes insipidus") none is."""
        text = normalise(prediction)
        spans: Spans = [
            (*found.span(), label)
            for name, label in self.names.items()
            for found in phrase_pattern(name).finditer(text)
        ]
        return {label for start, end, label in _longest(spans) if not negated(text, start, end)}


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
