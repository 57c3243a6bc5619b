"""How far confidence is from being right, answer by answer: the Brier score."""

from typing import Any, ClassVar

from kit.evaluate.calibration import brier
from kit.evaluate.record_metric import RecordMetric


class BrierScore(RecordMetric):
    """Its predictions are records of one answer each: how sure the model was, and whether it was right."""

    label = "Brier score"
    about = "agreement"
    kind = "score"
    higher_is_better = False
    formula = "mean of (confidence - correct)²"
    record: ClassVar[dict[str, str]] = {"confidence": "float64", "correct": "int64"}

    def of_records(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """The mean over all records; an item is that of one answer."""
        sure, right = ([record[name] for record in records] for name in ("confidence", "correct"))
        items = [float(item) for item in brier(sure, right)]
        mean = sum(items) / len(items) if items else None
        return {self.name: mean, "n": len(items), "items": items, "details": [[] for _ in items]}
