"""What a word is and when a text repeats itself: one idea for the checks of data and for metrics."""

import re

# Scripts written without spaces: each character counts as a word of its own.
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
LETTER = rf"[^\W{CJK}]"
"""A letter or digit of a word that spaces set apart."""
_WORD = re.compile(rf"[{CJK}]|{LETTER}+(?:['’]{LETTER}+)*")
_SPELLED = re.compile(rf"[{CJK}]|(?:(?![\d_]){LETTER}){{2,}}")

MOST_REPETITION = 0.5
"""An answer in which more than this share of the 4-grams has occurred before is repeating itself."""


def words(text: str) -> list[str]:
    """The words of a text; in Chinese, Japanese and Korean, its characters."""
    return _WORD.findall(text)


def spelled_words(text: str) -> int:
    """How many words of two letters and more, or characters of such a script, a text has.

    Numbers and codes do not count: they are written alike in every language.
    """
    return len(_SPELLED.findall(text))


def repetition(text: str) -> float:
    """The share of word 4-grams that repeat an earlier one, from 0 to 1; 0 for fewer than 4 words."""
    tokens = [word.casefold() for word in words(text)]
    grams = [tuple(tokens[i : i + 4]) for i in range(len(tokens) - 3)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
