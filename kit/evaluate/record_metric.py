"""What metrics share whose predictions are no texts but records, such as one of a timed answer."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import datasets
import evaluate

from kit.hooks import About


class RecordMetric(evaluate.Metric, ABC):  # type: ignore[misc]  # evaluate ships no types
    """Records are made while a model is there, so these metrics score no answers that were kept.

    Being abstract, this class is passed over when `evaluate.load` looks for a file's metric.
    """

    label: ClassVar[str]
    about: ClassVar[About]
    kind: ClassVar[Literal["rate", "score"]]
    higher_is_better: ClassVar[bool]
    invalid_item: ClassVar[None] = None
    formula: ClassVar[str]
    record: ClassVar[dict[str, str]]
    """Field -> its type, as `datasets.Value` calls it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["keep_in_memory"] = kwargs.get("num_process", 1) == 1  # as in `ItemMetric`
        super().__init__(*args, **kwargs)

    @abstractmethod
    def of_records(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """The metric's result: `{name, "n", "items", "details"}`."""

    def _info(self) -> Any:
        record = {name: datasets.Value(type_) for name, type_ in self.record.items()}
        return evaluate.MetricInfo(
            description=f"{self.label}: {self.formula}",
            citation="",
            inputs_description="\nArgs:\n    predictions: records; see the metric's card\n",
            features=datasets.Features({"predictions": record}),
        )

    def _compute(self, *, predictions: list[dict[str, Any]], **params: Any) -> dict[str, Any]:
        if params:
            raise TypeError(f"{self.name} takes no parameters, found {', '.join(sorted(params))}")
        return self.of_records(predictions)
