"""What the metrics of a row's language share: the detector, and which lines are in another one."""

from abc import ABC
from collections.abc import Sequence
from typing import Any

from kit.data.language import LanguageDetector, language_detector, other_script
from kit.data.words import words
from kit.evaluate.item_metric import ItemMetric, Reference

SHORTEST_LINE = 5
"""Of lines of fewer words only the script is judged: detectors err on them."""


class LanguageMetric(ItemMetric, ABC):
    """Judges the lines of an answer by the row's `language`."""

    about = "form"
    higher_is_better = True
    invalid_item = 0.0
    judges = frozenset({"wrong language"})
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

    def lines(self, answer: str) -> tuple[list[str], list[str]]:
        """The lines with words of an answer: all of them, and those too short to tell their language."""
        found = [line for line in answer.splitlines() if words(line)]
        return found, [line for line in found if len(words(line)) < SHORTEST_LINE]

    def wrong(self, line: str, wanted: str) -> str | None:
        """The script or language of a line, if it is not the one asked for."""
        script = other_script(line, wanted)
        if script:
            return f"{script} script"
        if len(words(line)) < SHORTEST_LINE:
            return None
        found = self.detector.language(line)
        return found if found != wanted else None
