"""How answers are compared as text: one normalisation, one idea of a word, one idea of a phrase."""

import re
import unicodedata
from functools import cache

# Scripts written without spaces: each character counts as a word of its own.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+(?:['’][^\W{_CJK}]+)*")
_PUNCTUATION = re.compile(r"[^\w\s]|_")


def normalise(text: str) -> str:
    """Unicode NFKC, straight apostrophes, one space between words; case and accents stay."""
    return " ".join(unicodedata.normalize("NFKC", text).replace("’", "'").split())


def bare(text: str) -> str:
    """For comparing answers: normalised, case folded, punctuation turned into spaces."""
    return " ".join(_PUNCTUATION.sub(" ", normalise(text).casefold()).split())


def words(text: str) -> list[str]:
    """The words of a text; in Chinese, Japanese and Korean, its characters."""
    return _WORD.findall(text)


@cache
def phrase_pattern(phrase: str, whole: bool = False) -> re.Pattern[str]:
    """Matches a phrase in normalised text, in any case.

    It must start where a word starts, and may go on into an ending ("refund" finds "refunds") unless it
    is to be found `whole`. Numbers must stand alone: "30" is not found in "300", "130" or "30.5".
    """
    text = normalise(phrase)
    body = r"\s+".join(re.escape(part) for part in text.split())
    first, last = text[:1], text[-1:]
    before = r"(?<!\d)(?<!\d[.,])" if first.isdigit() else r"(?<!\w)" if _spaced(first) else ""
    after = r"(?!\d)(?![.,]\d)" if last.isdigit() else ""
    if whole and _spaced(last):
        after += r"(?!\w)"
    return re.compile(before + body + after, re.IGNORECASE)


def _spaced(character: str) -> bool:
    """Whether a character belongs to a word that spaces set apart."""
    return character.isalnum() and not re.match(f"[{_CJK}]", character)
