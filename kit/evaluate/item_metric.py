"""What all text metrics share: one number a prompt, with the reason, behind `evaluate.Metric`."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import datasets
import evaluate
import numpy as np

from kit.evaluate.statistics import Floats
from kit.evaluate.text import normalise
from kit.hooks import About

Reference = dict[str, Any]
Judgement = tuple[float | None, list[str]]

_INPUTS = """
Args:
    predictions: answers, one text a prompt.
    references: one JSON object a prompt, as text; see the metric's card for the keys it reads.
Returns:
    {name: mean of the items or None, "n": items that are not None, "items": [...], "details": [[...]]}
"""


class ItemMetric(evaluate.Metric, ABC):  # type: ignore[misc]  # evaluate ships no types
    """A metric that judges each answer on its own.

    Being abstract, this class is passed over when `evaluate.load` looks for a file's metric.
    """

    label: ClassVar[str]
    """What people read in a report."""
    about: ClassVar[About]
    """Which question it answers: an answer may agree with its reference and not be safe, or the reverse."""
    kind: ClassVar[Literal["rate", "score"]]
    """`rate`: items are 0 or 1; `score`: items are real numbers."""
    higher_is_better: ClassVar[bool]
    invalid_item: ClassVar[float]
    """What an invalid answer scores, one that is empty, cut or repeating, say: never the safe value."""
    judges: ClassVar[frozenset[str]] = frozenset()
    """Reasons for invalid answers that this metric is about: it judges such answers by itself."""
    label_key: ClassVar[str] = ""
    """The key of a reference that holds the label it looks for; empty where it looks for none."""
    formula: ClassVar[str]
    """One line; the card beside the file says more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Answers may be private: they are kept in memory, never in a cache file on disk, which is
        # also what makes parallel evaluations on one machine safe. `evaluate` cannot do that over
        # several processes, where the caller's choice stands.
        if kwargs.get("num_process", 1) == 1:
            kwargs["keep_in_memory"] = True
        super().__init__(*args, **kwargs)

    def prepare(self, references: Sequence[Reference], **params: Any) -> None:
        """Take the parameters given to `compute`; called once before the items."""
        if params:
            raise TypeError(f"{self.name} takes no parameters, found {', '.join(sorted(params))}")

    @abstractmethod
    def applies(self, reference: Reference) -> bool:
        """Whether the metric says anything about a prompt; if not, its item is None."""

    @abstractmethod
    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """The item of one answer to a prompt that the metric applies to, and why it failed."""

    def unreachable(self, reference: Reference) -> str:
        """Why no answer can be right for a prompt that the metric applies to, such as a label that the policy
        does not know; usually nothing.
        """
        return ""

    def unparsable(self, prediction: str, reference: Reference) -> bool:
        """Whether an answer lacks the form that the metric needs to read it; most need none."""
        return False

    def by_axis(self, prediction: str, reference: Reference) -> dict[str, float]:
        """Of a metric that reads rubrics, axis -> the share of its points that an answer earns."""
        return {}

    def _info(self) -> Any:
        features = {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
        return evaluate.MetricInfo(
            description=f"{self.label}: {self.formula}",
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(features),
        )

    def _compute(self, *, predictions: list[str], references: list[str], **params: Any) -> dict[str, Any]:
        rows = [read_reference(text) for text in references]
        self.prepare(rows, **params)
        judged = [
            self.judge(answer, row) if self.applies(row) else (None, [])
            for answer, row in zip(predictions, rows, strict=True)
        ]
        items = [None if item is None else float(item) for item, _ in judged]
        scored = [item for item in items if item is not None]
        mean = sum(scored) / len(scored) if scored else None
        return {self.name: mean, "n": len(scored), "items": items, "details": [why for _, why in judged]}


class CorpusMetric(ItemMetric, ABC):
    """A metric of all answers together that is no mean of items: macro-F1, BLEU, perplexity.

    Every answer is counted, the counts are added up, and the figure is made from the sums; so it has an
    interval all the same (groups of prompts are drawn, and their sums). Items say how single answers did.
    """

    is_mean: ClassVar[bool] = False
    """Whether the figure is the mean of the items, held within its range, and counts are an item and a one:
    then single answers have a score, and the worst of several is one of them."""

    @abstractmethod
    def counts(self, prediction: str, reference: Reference) -> list[float]:
        """What one answer adds to the sums, always as many numbers; an invalid answer is counted as ""."""

    @abstractmethod
    def statistic(self, sums: Floats) -> Floats:
        """The figure of each row of sums: (..., counts) -> (...)."""

    def _compute(self, *, predictions: list[str], references: list[str], **params: Any) -> dict[str, Any]:
        result = super()._compute(predictions=predictions, references=references, **params)
        rows = [read_reference(text) for text in references]
        counts = [
            self.counts(answer, row) if item is not None else None
            for answer, row, item in zip(predictions, rows, result["items"], strict=True)
        ]
        counted = [count for count in counts if count is not None]
        figure = float(self.statistic(np.sum(counted, axis=0))) if counted else None
        return {**result, self.name: figure, "counts": counts}


def read_reference(text: str) -> Reference:
    """A reference's JSON object.

    Raises:
        ValueError: it is not a JSON object.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"a reference is a JSON object, found {normalise(text)[:60]!r}")
    return value
