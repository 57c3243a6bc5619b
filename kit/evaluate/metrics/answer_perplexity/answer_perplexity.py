"""How surprised a model is by the reference answers: perplexity a token."""

from typing import Any, ClassVar, Literal

import datasets
import evaluate
import numpy as np

from kit.evaluate.statistics import Floats
from kit.hooks import About


class AnswerPerplexity(evaluate.Metric):  # type: ignore[misc]  # evaluate ships no types
    """e to the mean surprise of a token of the reference answers, every token weighing the same.

    Its predictions are no texts but records of one reference answer each: its surprise in nats and its
    tokens, the one that ends the turn included.
    """

    label: ClassVar[str] = "Perplexity of the reference answers"
    about: ClassVar[About] = "agreement"
    kind: ClassVar[Literal["rate", "score"]] = "score"
    higher_is_better: ClassVar[bool] = False
    invalid_item: ClassVar[None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["keep_in_memory"] = kwargs.get("num_process", 1) == 1
        super().__init__(*args, **kwargs)

    def _info(self) -> Any:
        record = {"nats": datasets.Value("float64"), "tokens": datasets.Value("int64")}
        return evaluate.MetricInfo(
            description=f"{self.label}: e^(sum of nats / sum of tokens)",
            citation="",
            inputs_description="\nArgs:\n    predictions: records of reference answers\n",
            features=datasets.Features({"predictions": record}),
        )

    def _compute(self, *, predictions: list[dict[str, float]], **params: Any) -> dict[str, Any]:
        if params:
            raise TypeError(f"{self.name} takes no parameters, found {', '.join(sorted(params))}")
        counts = [[record["nats"], record["tokens"]] for record in predictions]
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
