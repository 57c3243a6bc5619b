"""What the metrics of calibration share: records of how sure a model was, and whether it was right."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from kit.evaluate.record_metric import RecordMetric


class ConfidenceMetric(RecordMetric):
    """Its predictions are records of one answer each: `confidence` from 0 to 1, `correct` 0 or 1."""

    about = "agreement"
    kind = "score"
    higher_is_better = False
    record: ClassVar[dict[str, str]] = {"confidence": "float64", "correct": "int64"}

    @abstractmethod
    def figure(self, sure: Sequence[float], right: Sequence[int]) -> float:
        """The metric over all answers, of which there is one at least."""

    @abstractmethod
    def each(self, sure: Sequence[float], right: Sequence[int]) -> list[float]:
        """What stands for each answer among the items."""

    def of_records(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """The figure over all records, null without any, and an item for each."""
        sure, right = ([record[name] for record in records] for name in ("confidence", "correct"))
        found = self.figure(sure, right) if records else None
        items = self.each(sure, right) if records else []
        return {self.name: found, "n": len(records), "items": items, "details": [[] for _ in records]}
