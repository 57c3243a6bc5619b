"""Which language a line is in, among the languages that can occur."""

from collections.abc import Iterable
from functools import lru_cache


class LanguageDetector:
    """py3langid, restricted to the languages that are deployed.

    Unrestricted, it takes a short shop sentence for one of 97 languages and is wrong far more often.
    With fewer than two languages there would be nothing to choose between, so all are kept.
    """

    def __init__(self, languages: Iterable[str]) -> None:
        """Raises ValueError if the detector does not know one of the languages (ISO 639-1)."""
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        codes = {language_code(language) for language in languages}
        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
        unknown = sorted(codes - set(self._identifier.labels))
        if unknown:
            raise ValueError(f"language codes the detector does not know: {', '.join(unknown)}")
        if len(codes) > 1:
            self._identifier.set_languages(sorted(codes))

    def language(self, line: str) -> str:
        """The ISO 639-1 code of a line's language."""
        code, _ = self._identifier.classify(line)
        return str(code)


def language_code(language: str) -> str:
    """`pt-BR` and `PT` as `pt`."""
    return language.replace("_", "-").split("-")[0].lower()


@lru_cache(maxsize=8)
def language_detector(languages: frozenset[str]) -> LanguageDetector:
    """A detector for these languages, read from disk once: that takes longer than a hundred answers."""
    return LanguageDetector(languages)
