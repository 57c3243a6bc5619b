"""Response times of one system: to the first token, per token, and in all."""

from typing import Any, ClassVar

import numpy as np

from kit.evaluate.percentiles import seconds_per_output_token, spread
from kit.evaluate.record_metric import RecordMetric


class ResponseTime(RecordMetric):
    """Percentiles over records of answers made one at a time; no mean, since times are skewed.

    A record has seconds to the first token with text, seconds in all, and tokens from that one to the stop
    token. An answer of no such token is empty: a failure, not a fast answer, and its item is None.
    """

    label = "Response time (median, seconds)"
    about = "speed"
    kind = "score"
    higher_is_better = False
    formula = "median; also time to first token, time per output token, tokens per second"
    record: ClassVar[dict[str, str]] = {
        "seconds_to_first_token": "float64",
        "seconds": "float64",
        "new_tokens": "int64",
    }

    def of_records(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """The median over all that answered, and percentiles of every part."""
        answered = [record for record in records if record["new_tokens"] > 0]
        items = [float(record["seconds"]) if record["new_tokens"] > 0 else None for record in records]
        result: dict[str, Any] = {
            self.name: float(np.median([record["seconds"] for record in answered])) if answered else None,
            "n": len(answered),
            "items": items,
            "details": [["empty answer"] if item is None else [] for item in items],
        }
        return result | (_spreads(answered) if answered else {})


def _spreads(records: list[dict[str, float]]) -> dict[str, Any]:
    paces = [pace for record in records if (pace := seconds_per_output_token(record)) is not None]
    return {
        "seconds_to_first_token": spread([record["seconds_to_first_token"] for record in records]),
        "seconds_per_output_token": spread(paces),
        "tokens_per_second": {
            "p50": float(np.median([record["new_tokens"] / record["seconds"] for record in records]))
        },
        "seconds": spread([record["seconds"] for record in records]),
        "new_tokens": {"p50": float(np.median([record["new_tokens"] for record in records]))},
    }
