"""Numbers written out in English, French and Spanish, from one to ninety-nine."""

_ENGLISH = {
    1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine",
    10: "ten", 11: "eleven", 12: "twelve", 13: "thirteen", 14: "fourteen", 15: "fifteen", 16: "sixteen",
    17: "seventeen", 18: "eighteen", 19: "nineteen", 20: "twenty", 30: "thirty", 40: "forty", 50: "fifty",
    60: "sixty", 70: "seventy", 80: "eighty", 90: "ninety",
}  # fmt: skip
_FRENCH = {
    2: "deux", 3: "trois", 4: "quatre", 5: "cinq", 6: "six", 7: "sept", 8: "huit", 9: "neuf", 10: "dix",
    11: "onze", 12: "douze", 13: "treize", 14: "quatorze", 15: "quinze", 16: "seize", 17: "dix-sept",
    18: "dix-huit", 19: "dix-neuf", 20: "vingt", 24: "vingt-quatre", 25: "vingt-cinq", 30: "trente",
    40: "quarante", 45: "quarante-cinq", 48: "quarante-huit", 50: "cinquante", 60: "soixante",
    70: "soixante-dix", 80: "quatre-vingts", 90: "quatre-vingt-dix",
}  # fmt: skip
_SPANISH = {
    2: "dos", 3: "tres", 4: "cuatro", 5: "cinco", 6: "seis", 7: "siete", 8: "ocho", 9: "nueve", 10: "diez",
    11: "once", 12: "doce", 13: "trece", 14: "catorce", 15: "quince", 16: "dieciséis", 17: "diecisiete",
    18: "dieciocho", 19: "diecinueve", 20: "veinte", 24: "veinticuatro", 25: "veinticinco", 30: "treinta",
    40: "cuarenta", 45: "cuarenta y cinco", 48: "cuarenta y ocho", 50: "cincuenta", 60: "sesenta",
    70: "setenta", 80: "ochenta", 90: "noventa",
}  # fmt: skip


def _english() -> dict[str, int]:
    found = {word: value for value, word in _ENGLISH.items()}
    for tens in range(20, 100, 10):
        for ones in range(1, 10):
            found |= {f"{_ENGLISH[tens]}{mark}{_ENGLISH[ones]}": tens + ones for mark in "- "}
    return found


BY_LANGUAGE: dict[str, dict[str, int]] = {
    "en": _english(),
    "fr": {word: value for value, word in _FRENCH.items()},
    "es": {word: value for value, word in _SPANISH.items()},
}
"""Language -> word -> number. "Once" is eleven in Spanish only, "six" six in English and French."""

FEWEST_ALONE = 3
"""From here on a word counts without a unit ("nine organs"): "one of them" and "the two" are no figures."""


def stands_alone(word: str, language: str) -> bool:
    """Whether a number word is a figure without a unit, in a text of a language ("" for English)."""
    known = BY_LANGUAGE.get(language or "en", {})
    return known.get(word.casefold(), 0) >= FEWEST_ALONE
