"""How far confidence is from accuracy: the expected calibration error over bins of equal mass."""

from typing import Any, ClassVar

import numpy as np

from kit.evaluate.calibration import calibration_error
from kit.evaluate.record_metric import RecordMetric


class CalibrationError(RecordMetric):
    """Its predictions are records of one answer each: how sure the model was, and whether it was right."""

    label = "Calibration error"
    about = "agreement"
    kind = "score"
    higher_is_better = False
    formula = "sum over 15 equal-mass bins of share of answers x |accuracy - mean confidence|"
    record: ClassVar[dict[str, str]] = {"confidence": "float64", "correct": "int64"}

    def of_records(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """The error over all records; an item is one answer's |correct - confidence|."""
        sure, right = ([record[name] for record in records] for name in ("confidence", "correct"))
        error = float(calibration_error(sure, right)(np.ones(len(records)))) if records else None
        items = [abs(one - other) for one, other in zip(sure, right, strict=True)]
        return {self.name: error, "n": len(records), "items": items, "details": [[] for _ in records]}
