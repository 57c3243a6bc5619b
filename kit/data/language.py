"""Which language a line is in: one of those that are deployed, or none of them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

SURE_OUTSIDE = 0.95
"""A line is in none of the languages if the detector gives the others more than this together.

Measured on lines of five words and more: see the card of `language_fidelity`.
"""

SURE_INSIDE = 0.8
"""Of the deployed languages the likeliest is sure if it has this share of their confidence."""

_Shares = list[tuple[str, float]]

# Languages of the detector that are not written in Latin letters. Chinese characters count for Japanese.
_SCRIPTS = {
    "CYRILLIC": "ba be bg kk ky mk mn ru sr tg tt uk",
    "CJK": "ja wuu yue zh",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "ARABIC": "ar ary arz fa ps sdh ug ur",
    "HEBREW": "hbo he",
    "GREEK": "el grc",
    "ARMENIAN": "hy",
    "GEORGIAN": "ka",
    "DEVANAGARI": "hi mr ne sa",
    "BENGALI": "as bn",
    "GURMUKHI": "pa",
    "GUJARATI": "gu",
    "ORIYA": "or",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "SINHALA": "si",
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "ETHIOPIC": "am",
    "MYANMAR": "my",
    "TIBETAN": "dz",
}
_NO_LANGUAGE = "zxx"
_ALSO_LATIN = {"kk", "sr"}


class LanguageDetector:
    """py3langid, choosing among the languages that are deployed, unless a line is surely in none.

    Left to choose among all 97, it takes a short shop sentence for a neighbouring language far too often;
    held to the deployed ones alone, it would take German for English.
    """

    def __init__(self, languages: Iterable[str]) -> None:
        """Raises ValueError if the detector does not know one of the languages (ISO 639-1)."""
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        self.languages = {language_code(language) for language in languages}
        unknown = sorted(self.languages - set(self._identifier.labels))
        if unknown:
            raise ValueError(f"language codes the detector does not know: {', '.join(unknown)}")

    def language(self, line: str) -> str:
        """The ISO 639-1 code of a line's language; one outside the deployed set only if that is sure."""
        inside, outside, likeliest = self._shares(line)
        return _choice(inside, outside) or likeliest

    def sure_language(self, line: str) -> str | None:
        """As `language`; None where a second deployed language is likely as well."""
        first, share = self._identifier.classify(line)  # a third quicker than all shares
        if first in self.languages and share >= SURE_INSIDE:
            return str(first)
        inside, outside, likeliest = self._shares(line)
        chosen = _choice(inside, outside) or likeliest
        doubtful = inside and inside[0][1] < SURE_INSIDE * sum(share for _, share in inside)
        return None if chosen in self.languages and doubtful else chosen

    def _shares(self, line: str) -> tuple[_Shares, _Shares, str]:
        """The detector's confidence in deployed languages and in others, likeliest first, and its first."""
        shares = [(str(code), float(share)) for code, share in self._identifier.rank(line)]
        inside = [(code, share) for code, share in shares if code in self.languages]
        outside = [(code, share) for code, share in shares if code not in {*self.languages, _NO_LANGUAGE}]
        return inside, outside, shares[0][0]


def _choice(inside: _Shares, outside: _Shares) -> str | None:
    """The likeliest deployed language, unless the line is surely in another; None if none is known."""
    if inside and sum(share for _, share in outside) > SURE_OUTSIDE:
        return outside[0][0]
    return inside[0][0] if inside else None


def other_script(line: str, language: str) -> str | None:
    """The script that most letters of a line are in, such as `cyrillic`, if the language has another."""
    scripts = scripts_of(line)
    foreign = Counter({script: n for script, n in scripts.items() if not writes(language, script)})
    return foreign.most_common(1)[0][0].lower() if foreign.total() * 2 > scripts.total() else None


def scripts_of(text: str) -> Counter[str]:
    """How many letters of a text are in which script."""
    if text.isascii():
        return Counter(LATIN=sum(map(str.isalpha, text)))
    return Counter(map(_SCRIPT_OF.__getitem__, filter(str.isalpha, text)))


def language_code(language: str) -> str:
    """`pt-BR` and `PT` as `pt`."""
    return language.replace("_", "-").split("-")[0].lower()


@lru_cache(maxsize=8)
def language_detector(languages: frozenset[str]) -> LanguageDetector:
    """A detector for these languages, read from disk once: that takes longer than a hundred answers."""
    return LanguageDetector(languages)


class _ScriptOf(dict[str, str]):
    """Letter -> the first word of its Unicode name, which is its script; every letter is looked up once."""

    def __missing__(self, letter: str) -> str:
        name = unicodedata.name(unicodedata.normalize("NFKC", letter)[0], "UNKNOWN")
        self[letter] = re.split(r"[ -]", name)[0]
        return self[letter]


_SCRIPT_OF = _ScriptOf()


@lru_cache(maxsize=4096)
def writes(language: str, script: str) -> bool:
    """Whether a language is written in a script; scripts that no listed language has are foreign to all."""
    own = [name for name, codes in _SCRIPTS.items() if language in codes.split()]
    return script in own if own and (language not in _ALSO_LATIN or script != "LATIN") else script == "LATIN"
