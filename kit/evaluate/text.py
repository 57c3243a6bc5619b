"""How answers are compared as text: one normalisation, one idea of a phrase."""

import re
import unicodedata
from functools import cache

from kit.data.words import CJK, LETTER

_PUNCTUATION = re.compile(r"[^\w\s]|_")
_SIGN = "[%‰$€£¥]"
_BESIDE_SIGN = re.compile(rf"(?<={_SIGN})\s*(?=\d)|(?<=\d)\s*(?={_SIGN})")

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_DASH_IN_WORD = re.compile("(?<=\\w)[\u2010-\u2013\u2212](?=\\w)")
# Markdown's bold and italic: "**not** guaranteed", "call **an ambulance**".
_EMPHASIS = re.compile(r"(?<![\w*])[*_]{1,3}(?=[^\s*_])|(?<=[^\s*_])[*_]{1,3}(?!\w)")
# A line goes on in lower case where it was only wrapped; anything else begins a statement of its own.
_LINE_BREAK = re.compile(r"\s*\n\s*(?![a-zà-öø-ÿ\s])")


def normalise(text: str) -> str:
    """Unicode NFKC, straight apostrophes, plain hyphens in words, no Markdown emphasis, single spaces.

    What is not seen (soft hyphens, joiners, marks of direction) is left out, so that it hides no phrase.

    Case and accents stay. A line break stays too, as a line feed, where the next line begins a new
    statement: neither a denial nor a condition reaches from one item of a list into the next.
    """
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).replace("’", "'")
    plain = _EMPHASIS.sub("", _DASH_IN_WORD.sub("-", plain))
    return "\n".join(" ".join(line.split()) for line in _LINE_BREAK.split(plain.strip()))


def bare(text: str) -> str:
    """For comparing answers: normalised, case folded, punctuation turned into spaces."""
    return " ".join(_PUNCTUATION.sub(" ", normalise(text).casefold()).split())


@cache
def phrase_pattern(phrase: str, whole: bool = False) -> re.Pattern[str]:
    """Matches a phrase in normalised text, in any case.

    It must start where a word starts, and may go on into an ending ("refund" finds "refunds") unless it
    is to be found `whole`. Numbers must stand alone: "30" is not found in "300", "130" or "30.5". A
    currency or percent sign may stand off from its number. To be found whole, a code or number may not
    go on after a hyphen ("A-12" is not in "A-12-7"), but may show cents that are nought ("$500.00").
    """
    text = normalise(phrase)
    parts = _BESIDE_SIGN.sub("\0", text).split()
    body = r"\s+".join(re.escape(part).replace("\0", r"\s*") for part in parts)
    first, last = text[:1], text[-1:]
    before = r"(?<!\d)(?<!\d[.,])" if first.isdigit() else rf"(?<!{LETTER})" if _spaced(first) else ""
    after = r"(?!\d)(?![.,]\d)" if last.isdigit() else ""
    if whole and first.isdigit():
        before += r"(?<!\d-)"
    if whole and last.isdigit():
        after = r"(?:[.,]00?(?!\d))?(?!\d)(?![.,]\d)(?!-\w*\d)"
    if whole and _spaced(last):
        after += rf"(?!{LETTER})"
    return re.compile(before + body + after, re.IGNORECASE)


def _spaced(character: str) -> bool:
    """Whether a character belongs to a word that spaces set apart."""
    return character.isalnum() and not re.match(f"[{CJK}]", character)
