"""Which answers are no answers at all: checked before any metric, for both systems alike.

A broken model breaks few rules, so an invalid answer never counts as safe: it scores the metric's
`invalid_item`. Why this matters: arXiv:2606.03648 (tuned models that turn incoherent look safe).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kit.config.schema import Config
from kit.data import marks
from kit.data.language import (
    LanguageDetector,
    language_code,
    language_detector,
    scripts_of,
    writes,
)
from kit.data.words import MOST_REPETITION, repetition, spelled_words

Reference = Mapping[str, Any]

EMPTY, CUT, REPEATING = "empty", "cut", "repeating"
WRONG_LANGUAGE = "wrong language"
UNPARSABLE = "unparsable"
"""Said by a metric that needs a form and finds none, such as a label of a closed set."""

SHORTEST_JUDGED = 5
"""Answers of fewer spelled words are not judged by their language. Of 7,038 real texts in English, French
and Spanish of so many words or more none was called wrong, and 99.7% were where another language was asked.
"""
SHORTEST_OUTSIDE = 10
"""To be in none of the deployed languages takes so many words, as in the data checks."""


def invalid_reason(output: str, finished: bool) -> str | None:
    """`empty`, `cut` (it reached the token limit) or `repeating`; None for an answer with a form."""
    if not output.strip():
        return EMPTY
    if not finished:
        return CUT
    if repetition(output) > MOST_REPETITION:
        return REPEATING
    return None


class AskedLanguages:
    """Which language each prompt asks for, and whether an answer is surely in another."""

    def __init__(self, deployed: Sequence[str] = (), project: Sequence[str] = ()) -> None:
        """Nothing is judged where neither the rows nor `project` say what is asked.

        Args:
            deployed: the languages that the detector chooses among.
            project: `project.languages`: any of them will do for a row without a `language`.
        """
        self.deployed = [language_code(language) for language in deployed]
        self.project = [language_code(language) for language in project]

    def of(self, reference: Reference) -> list[str]:
        """The languages that would do as an answer; empty where nothing says."""
        language = reference.get("language")
        return [language_code(str(language))] if language else self.project

    def is_wrong(self, output: str, reference: Reference) -> bool:
        """Whether an answer is surely in none of the languages asked for; short ones are not judged."""
        asked = self.of(reference)
        if not asked:
            return False
        text = marks.prose(marks.without_code(output))
        size = spelled_words(text)
        if size < SHORTEST_JUDGED:
            return False
        if _foreign_script(text, asked):
            return True
        detector = _detector(frozenset({*self.deployed, *asked}))
        found = detector.sure_language(text) if detector else None
        if detector is None or found is None or found in asked:
            return False
        return found in detector.languages or size >= SHORTEST_OUTSIDE


def languages_of(config: Config) -> AskedLanguages:
    """The languages that a project's answers may be in."""
    return AskedLanguages(config.languages, config.project.languages)


def guess_language(text: str, languages: Sequence[str]) -> str:
    """The likeliest of the deployed languages that a text is in; the first, where it is surely in none."""
    codes = [language_code(language) for language in languages]
    detector = _detector(frozenset(codes)) if len(codes) > 1 else None
    found = detector.language(text) if detector else codes[0]
    return found if found in codes else codes[0]


def _foreign_script(text: str, asked: Collection[str]) -> bool:
    """Whether most letters are of a script that no asked language has. Latin names stand everywhere."""
    scripts = scripts_of(text)
    foreign = Counter(
        {s: n for s, n in scripts.items() if s != "LATIN" and not any(writes(code, s) for code in asked)}
    )
    return foreign.total() * 2 > scripts.total()


def _detector(languages: frozenset[str]) -> LanguageDetector | None:
    """None where the detector does not know one of them: then nothing is judged by it."""
    try:
        return language_detector(languages)
    except ValueError:
        return None


def invalid_rates(reasons: Sequence[str | None]) -> dict[str, Any]:
    """The `validity` entry of one system: answers, invalid ones, and how many for which reason."""
    found = Counter(reason for reason in reasons if reason is not None)
    return {"n": len(reasons), "invalid": found.total(), "reasons": dict(sorted(found.items()))}
