"""How often a model is wrong where it answers only what it is most sure of: the area under that curve."""

from typing import Any, ClassVar

import numpy as np

from kit.evaluate.calibration import accuracy_by_coverage, risk_by_coverage
from kit.evaluate.record_metric import RecordMetric


class RiskCoverage(RecordMetric):
    """Its predictions are records of one answer each: how sure the model was, and whether it was right."""

    label = "Risk by coverage (area)"
    about = "agreement"
    kind = "score"
    higher_is_better = False
    formula = "mean over k of the share of wrong answers among the k most confident"
    record: ClassVar[dict[str, str]] = {"confidence": "float64", "correct": "int64"}

    def of_records(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """The area over all records; an item is the risk where so many are answered, most confident first."""
        sure, right = ([record[name] for record in records] for name in ("confidence", "correct"))
        area = float(risk_by_coverage(sure, right)(np.ones(len(records)))) if records else None
        items = [float(1 - share) for share in accuracy_by_coverage(sure, right)]
        return {self.name: area, "n": len(items), "items": items, "details": [[] for _ in items]}
