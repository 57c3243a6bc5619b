"""Response times of one system: to the first token, per token, and in all."""

from typing import Any, ClassVar, Literal

import datasets
import evaluate
import numpy as np

from kit.hooks import About


class ResponseTime(evaluate.Metric):  # type: ignore[misc]  # evaluate ships no types
    """Percentiles over records of answers made one at a time; no mean, since times are skewed.

    The one metric whose predictions are no texts but records: seconds to the first token, seconds in
    all, and new tokens (the stop token included). An answer without a token of text is a failure, not
    a fast answer: its item is None.
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
        items = [None if record["new_tokens"] < 2 else float(record["seconds"]) for record in predictions]
        answered = [record for record in predictions if record["new_tokens"] >= 2]
        result: dict[str, Any] = {
            self.name: float(np.median([record["seconds"] for record in answered])) if answered else None,
            "n": len(answered),
            "items": items,
            "details": [["empty answer"] if item is None else [] for item in items],
        }
        return result | (_percentiles(answered) if answered else {})


def _percentiles(records: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    first = np.array([record["seconds_to_first_token"] for record in records])
    whole = np.array([record["seconds"] for record in records])
    tokens = np.array([record["new_tokens"] for record in records], dtype=np.float64)
    after_first = (whole - first) / (tokens - 1)
    return {
        "seconds_to_first_token": _shares(first, 50, 95),
        "seconds_per_output_token": _shares(after_first, 50, 95),
        "tokens_per_second": _shares(tokens / whole, 50),
        "seconds": _shares(whole, 50, 95),
        "new_tokens": _shares(tokens, 50),
    }


def _shares(values: "np.ndarray[Any, Any]", *percentiles: int) -> dict[str, float]:
    return {f"p{percentile}": float(np.percentile(values, percentile)) for percentile in percentiles}
