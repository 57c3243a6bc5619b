"""What the metrics of a closed set of labels share: the set, and the label an answer gives."""

from collections.abc import Sequence
from typing import Any

from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.labels import given_label


class LabelMetric(ItemMetric):
    """A metric whose `compute` may take `labels`, by default the rows' own. Abstract, as its base is."""

    labels: list[str]
    judges = frozenset({"unparsable"})
    label_key = "label"

    def prepare(self, references: Sequence[Reference], **params: Any) -> None:
        """Take the labels.

        Raises:
            TypeError: something else than `labels`, a list of texts, was given.
        """
        given = params.get("labels", [])
        if set(params) - {"labels"} or not isinstance(given, list):
            raise TypeError(f"{self.name} takes one parameter, labels=[...]; found {params}")
        expected = {label_of(row) for row in references} - {""}
        self.labels = [str(label) for label in given] or sorted(expected)

    def applies(self, reference: Reference) -> bool:
        """Whether the row has a `label`."""
        return bool(label_of(reference))

    def unparsable(self, prediction: str, reference: Reference) -> bool:
        """Whether an answer gives none of the labels, or leaves several open."""
        return given_label(prediction, self.labels) is None

    def judge_label(self, prediction: str, reference: Reference) -> Judgement:
        """1 if the answer gives the expected label, else 0 with both."""
        found, wanted = given_label(prediction, self.labels), label_of(reference)
        if found is not None and found.casefold() == wanted.casefold():
            return 1.0, []
        return 0.0, [f"{found or 'no label'} where {wanted} was expected"]


def label_of(reference: Reference) -> str:
    """The row's expected `label`; CSV and JSON may have it as true, false or a number."""
    value = reference.get("label")
    return "" if value is None else str(value).strip()
