"""Share of answers whose every full line is in the language asked for."""

from collections.abc import Sequence
from typing import Any

from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.language import LanguageDetector, language_code, language_detector
from kit.evaluate.text import words

SHORTEST_LINE = 5
"""Lines of fewer words are not judged: detectors err on them."""


class LanguageFidelity(ItemMetric):
    """1 if every line of 5 words or more is in the row's `language`; None if no line is that long."""

    label = "Answers in the right language"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = (
        "answers whose every line of 5 or more words is in the asked language / answers with such a line"
    )
    detector: LanguageDetector

    def prepare(self, references: Sequence[Reference], **params: Any) -> None:
        """Build the detector for `languages` (ISO 639-1) and those of the rows.

        Raises:
            TypeError: another parameter than `languages` was given.
            ValueError: the detector does not know one of the languages.
        """
        if set(params) - {"languages"}:
            raise TypeError(f"{self.name} takes `languages` only, found {', '.join(sorted(params))}")
        asked = {str(row["language"]) for row in references if row.get("language")}
        self.detector = language_detector(frozenset({*params.get("languages", []), *asked}))

    def applies(self, reference: Reference) -> bool:
        """Whether the row names the `language` it asks in."""
        return bool(reference.get("language"))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with the lines in another language; None if every line is too short to tell."""
        wanted = language_code(str(reference["language"]))
        lines = [line for line in prediction.splitlines() if len(words(line)) >= SHORTEST_LINE]
        if not lines:
            return None, []
        found = [self.detector.language(line) for line in lines]
        wrong = sorted({code for code in found if code != wanted})
        return float(not wrong), [f"{code} where {wanted} was asked" for code in wrong]
