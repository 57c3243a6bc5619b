"""Response times of one system: to the first token, per token, and in all."""

from typing import Any, ClassVar, Literal

import datasets
import evaluate
import numpy as np

from kit.evaluate.percentiles import seconds_per_output_token, spread
from kit.hooks import About


class ResponseTime(evaluate.Metric):  # type: ignore[misc]  # evaluate ships no types
    """Percentiles over records of answers made one at a time; no mean, since times are skewed.

    The one metric whose predictions are no texts but records: seconds to the first token with text, seconds
    in all, and tokens from that one to the stop token. An answer of no such token is empty: a failure, not a
    fast answer, and its item is None.
    """

    label: ClassVar[str] = "Response time (median, seconds)"
    about: ClassVar[About] = "speed"
    kind: ClassVar[Literal["rate", "score"]] = "score"
    higher_is_better: ClassVar[bool] = False
    invalid_item: ClassVar[None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["keep_in_memory"] = kwargs.get("num_process", 1) == 1
        super().__init__(*args, **kwargs)

    def _info(self) -> Any:
        record = {
            "seconds_to_first_token": datasets.Value("float64"),
            "seconds": datasets.Value("float64"),
            "new_tokens": datasets.Value("int64"),
        }
        return evaluate.MetricInfo(
            description=f"{self.label}; time to first token, time per output token, tokens per second",
            citation="",
            inputs_description="\nArgs:\n    predictions: records of timed answers\n",
            features=datasets.Features({"predictions": record}),
        )

    def _compute(self, *, predictions: list[dict[str, float]], **params: Any) -> dict[str, Any]:
        if params:
            raise TypeError(f"{self.name} takes no parameters, found {', '.join(sorted(params))}")
        answered = [record for record in predictions if record["new_tokens"] > 0]
        items = [float(record["seconds"]) if record["new_tokens"] > 0 else None for record in predictions]
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
