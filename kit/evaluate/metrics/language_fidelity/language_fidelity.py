"""Share of answers whose every full line is in the language asked for."""

from collections.abc import Sequence
from typing import Any

from kit.data.language import LanguageDetector, language_code, language_detector, other_script
from kit.data.words import words
from kit.evaluate.item_metric import ItemMetric, Judgement, Reference

SHORTEST_LINE = 5
"""Of lines of fewer words only the script is judged: detectors err on them."""


class LanguageFidelity(ItemMetric):
    """1 if every line of 5 words or more is in the row's `language`; None if no line is that long."""

    label = "Answers in the right language"
    about = "form"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = (
        "answers whose every line of 5 or more words is in the asked language / answers with such a line"
    )
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

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with the languages found instead; None if every line is too short to tell.

        What was not judged is told as well, so that short answers cannot raise the rate unseen.
        """
        wanted = language_code(str(reference["language"]))
        lines = [line for line in prediction.splitlines() if words(line)]
        short = [line for line in lines if len(words(line)) < SHORTEST_LINE]
        wrong = {
            f"{found} where {wanted} was asked" for line in lines if (found := self._wrong(line, wanted))
        }
        if wrong:
            return 0.0, sorted(wrong)
        if len(short) == len(lines):
            return None, [f"not judged: no line of {SHORTEST_LINE} words"]
        return 1.0, ["has short lines that were not judged"] if short else []

    def _wrong(self, line: str, wanted: str) -> str | None:
        """The script or language of a line, if it is not the one asked for."""
        script = other_script(line, wanted)
        if script:
            return f"{script} script"
        if len(words(line)) < SHORTEST_LINE:
            return None
        found = self.detector.language(line)
        return found if found != wanted else None
