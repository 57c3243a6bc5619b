"""How surprised a model is by the reference answers: perplexity a token."""

from typing import Any, ClassVar

import numpy as np

from kit.evaluate.record_metric import RecordMetric
from kit.evaluate.statistics import Floats


class AnswerPerplexity(RecordMetric):
    """e to the mean surprise of a token of the reference answers, every token weighing the same.

    Its predictions are records of one reference answer each: its surprise in nats and its tokens, the one
    that ends the turn included.
    """

    label = "Perplexity of the reference answers"
    about = "agreement"
    kind = "score"
    higher_is_better = False
    formula = "e^(sum of nats / sum of tokens)"
    record: ClassVar[dict[str, str]] = {"nats": "float64", "tokens": "int64"}

    def of_records(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """Perplexity over all records; an item is that of one answer."""
        counts = [[record["nats"], record["tokens"]] for record in records]
        items = [float(perplexity(np.array(count))) if count[1] else None for count in counts]
        read = [count for count in counts if count[1]]
        return {
            self.name: float(perplexity(np.sum(read, axis=0))) if read else None,
            "n": len(read),
            "items": items,
            "details": [[] if count[1] else ["no token was read"] for count in counts],
        }


def perplexity(sums: Floats) -> Floats:
    """Of each row of sums of nats and tokens: (..., 2) -> (...)."""
    found: Floats = np.exp(sums[..., 0] / np.maximum(sums[..., 1], 1))
    return found
