"""The figures of a text as values with units: "3,5 %" is 3.5 percent, "0.5 million" is 500,000.

English, French and Spanish forms. What a text leaves open is read the English way unless its language
is given: "1,500" is 1500, in French and Spanish 1.5. A figure glued to letters ("A-12", "COVID-19",
"B12") is a name and not a figure.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from kit.config.errors import DataError, Problem
from kit.evaluate.number_words import BY_LANGUAGE, stands_alone

_COMMA_DECIMAL = frozenset({"fr", "es", "de", "it", "pt", "nl", "pl", "sv", "da"})

_WORDS = {word: Decimal(value) for listed in BY_LANGUAGE.values() for word, value in listed.items()}

# Longest first: "mil millones" before "mil". "billion" means another number in French (`_scale`).
_SCALES = {
    "mil millones": 10**9,
    "thousand": 10**3,
    "milliers": 10**3,
    "millier": 10**3,
    "mille": 10**3,
    "mil": 10**3,
    "millions": 10**6,
    "million": 10**6,
    "millones": 10**6,
    "millón": 10**6,
    "milliards": 10**9,
    "milliard": 10**9,
    "billions": 10**9,
    "billion": 10**9,
    "billones": 10**12,
    "billón": 10**12,
    "trillion": 10**12,
    "hundred": 10**2,
    "mn": 10**6,
    "mio": 10**6,
    "bn": 10**9,
    "万": 10**4,
    "亿": 10**8,
}
_TABLE_SCALES = ("hundred", "thousand", "million", "billion")
_LETTER_SCALES = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9}

# Spelling -> (unit, how many of it): units of one dimension become one, so that 0.5 g is 500 mg.
_UNITS: dict[str, tuple[str, str]] = {
    spelling: (unit, factor)
    for unit, factor, spellings in (
        ("%", "1", "% percent per_cent pour_cent pour_cents por_ciento"),
        ("percentage points", "1", "percentage_points percentage_point pp points_de_pourcentage"),
        ("basis points", "1", "basis_points basis_point bps bp points_de_base puntos_básicos"),
        ("$", "1", "$ usd dollars dollar dólares dólar"),
        ("€", "1", "€ eur euros euro"),
        ("£", "1", "£ gbp pounds_sterling"),
        ("¥", "1", "¥ jpy cny rmb yuan yen 元"),
        ("mg", "1", "mg milligrams milligram milligrammes milligramme miligramos miligramo"),
        ("mg", "0.001", "µg μg ug mcg micrograms microgram microgrammes microgramos"),
        ("mg", "0.000001", "ng nanograms"),
        ("mg", "1000", "g grams gram grammes gramme gramos gramo"),
        ("mg", "1000000", "kg kilograms kilogram kilos kilo kilogrammes kilogramos"),
        ("lb", "1", "lb lbs pounds pound livres livre libras libra"),
        ("oz", "1", "oz ounces ounce onces onzas onza"),
        ("mm", "1", "mm millimetres millimeters"),
        ("mm", "10", "cm centimetres centimeters centimètres centímetros"),
        ("mm", "1000", "metres meters metre meter mètres mètre metros metro"),
        ("mm", "1000000", "km kilometres kilometers kilomètres kilómetros"),
        ("inches", "1", "inches inch pouces pouce pulgadas pulgada"),
        ("inches", "12", "feet foot ft pieds pies"),
        ("inches", "36", "yards yard"),
        ("ml", "1", "ml millilitres milliliters millilitre milliliter mililitros"),
        ("ml", "10", "cl"),
        ("ml", "100", "dl"),
        ("ml", "1000", "l litres liters litre liter litros litro"),
        ("mmol", "1", "mmol"),
        ("mmhg", "1", "mmhg mm_hg"),
        ("units", "1", "iu ui units unit unités unidades"),
        ("°c", "1", "°c degrees_celsius"),
        ("°f", "1", "°f degrees_fahrenheit"),
        ("minutes", "1", "minutes minute min mins minutos minuto"),
        ("minutes", "60", "hours hour h hrs hr heures heure horas hora"),
        ("minutes", "1440", "days day jours jour días día dias 天"),
        ("minutes", "10080", "weeks week semaines semaine semanas semana"),
        ("months", "1", "months month mois meses mes"),
        ("months", "12", "years year ans an années année años año"),
        ("working days", "1", "working_days working_day business_days business_day jours_ouvrés"),
        ("working days", "1", "jours_ouvrables días_hábiles días_laborables"),
        ("tablets", "1", "tablets tablet pills pill comprimés comprimé comprimidos comprimido"),
        ("drops", "1", "drops gouttes gotas"),
        ("puffs", "1", "puffs puff bouffées"),
    )
    for spelling in (word.replace("_", " ") for word in spellings.split())
}
_SIGNS = "$€£¥%元天万亿"


def _either(spellings: Iterable[str]) -> str:
    """A pattern of any of the words, the longest first, none cut short by a further letter."""
    longest_first = sorted(spellings, key=len, reverse=True)
    return "|".join(
        re.escape(word).replace(r"\ ", r"\s") + ("" if word in _SIGNS else r"(?![\w'])")
        for word in longest_first
    )


_GAP = "\u2063"  # stands for a space inside a number
# A hyphen after a digit is a range's and one after a letter a name's; neither is a minus.
_NUMBER = re.compile(
    rf"(?P<minus>(?<![\w)])-\s?)?(?P<sign>[$€£¥]\s?(?P<inner>-)?)?(?P<open>\()?(?P<sign2>[$€£¥])?"
    rf"(?:(?<![^\W\d]-)(?<![\w.,])(?P<digits>\d+(?:[.,{_GAP}]\d+)*)|(?<!\w)(?P<word>{_either(_WORDS)}))",
    re.IGNORECASE,
)
_SCALE = re.compile(rf"(?P<letter>[kKMB])(?!\w)|[\s-]?(?i:(?P<scale>{_either(_SCALES)}))")
_UNIT = re.compile(
    rf"[\s-]?(?:d'|de\s|of\s)?(?P<unit>{_either(_UNITS)})(?:\s?/\s?(?P<per>kg|m2|d?l|ml)\b)?", re.I
)
_RANGE = re.compile(r"\s?(?:-|–|—|/|to|through|and|or|à|et|ou|a|y|o)\s?", re.IGNORECASE)
# "ages 3 to 8" are years, as "3 to 8 years old" are.
_AGE = re.compile(
    r"\b(?:ages?|aged|âge|âgée?s?|edad|edades)(?: (?:range|group|is|of|from|over|under|for|between|de|entre|a"
    r"|à))*:? $",
    re.IGNORECASE,
)
# "7 3/4" and "3/4 inch", but not "24/7", a date or "2/3", which is no decimal number.
_FRACTION = re.compile(
    r"(?<![\d/.,])(?:(\d+)[ -])?(\d{1,2})/(2|4|8|16)(?![\d/.,])(\s?(?:inch|cup|of an?\b|\"))?"
)
_HALVES = re.compile(r"(?<!\d)(\d+)?([½¼¾])")
_PARTS = {"½": ".5", "¼": ".25", "¾": ".75"}
_LIST_NUMBER = re.compile(r"(?m)^\s*\d{1,2}[.)]\s")
_FALL = re.compile(
    r"\b(?:fell|fall\w*|decreas\w+|declin\w+|down|drop\w*|loss(?:es)?|lost|lower|less|reduc\w+|negative|minus"
    r"|baiss\w+|diminu\w+|recul\w*|pertes?|moins|baj\w+|disminu\w+|pérdidas?|cay\w+|menos)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Quantity:
    """A figure as its text means it.

    `value` is in the unit's base (mg, ml, minutes, months) with scale words multiplied in, `stated` in the
    unit that was said ("16 hours": 960 and 16); `unit` is "" for a bare number; `falls` says whether the
    words just before it speak of a fall or a loss.
    """

    value: Decimal
    stated: Decimal
    unit: str
    text: str
    falls: bool = False

    def agrees(self, other: "Quantity") -> bool:
        """Whether both mean the same number; a minus may be said by "fell" or "loss" instead."""
        if abs(self.value) != abs(other.value):
            return False
        one, two = self.value < 0, other.value < 0
        return one == two or (one and other.falls) or (two and self.falls)


@dataclass
class _Found:
    """A figure while it is read: where it stands, and what its neighbour may lend it."""

    start: int
    end: int
    number: Decimal
    scale: Decimal
    unit: str
    factor: Decimal
    falls: bool


def quantities(text: str, language: str = "", *, words_alone: bool = False) -> list[Quantity]:
    """The figures of a text, in its order.

    Args:
        language: ISO 639-1, which decides what "1,500" and "billion" mean; otherwise English.
        words_alone: whether a number word counts without a unit, from "three" on.
    """
    plain = _plain(text)
    found: list[_Found] = []
    end = 0
    for match in _NUMBER.finditer(plain):
        if match.start() < end:
            continue
        figure = _read(plain, match, language[:2].casefold(), words_alone=words_alone)
        if figure:
            found.append(figure)
            end = figure.end
    _lend_units(plain, found)
    return [
        Quantity(
            f.number * f.scale * f.factor,
            f.number * f.scale,
            f.unit,
            plain[f.start : f.end].strip(" (").replace(_GAP, " "),
            f.falls,
        )
        for f in found
    ]


def _plain(text: str) -> str:
    """NFKC with plain minus signs, no Markdown emphasis and no list numbers; spaces in numbers marked."""
    text = _FRACTION.sub(_decimal, text)
    text = _HALVES.sub(lambda found: f"{found[1] or 0}{_PARTS[found[2]]}", text)
    text = re.sub(r"(?<=\d)[\u00a0\u202f\u2009 '’](?=\d{3}(?!\d))", _mark, text)
    text = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("’", "'")
    return _LIST_NUMBER.sub(" ", re.sub(r"\*{1,3}|__", "", text))


def _decimal(found: re.Match[str]) -> str:
    """A fraction as a decimal number, where it follows a whole number or a unit follows it."""
    whole, top, bottom, unit = found.groups()
    if int(top) >= int(bottom) or not (whole or unit):
        return found.group()
    return f"{int(whole or 0) + Decimal(top) / Decimal(bottom)}{unit or ''}"


def _mark(space: re.Match[str]) -> str:
    """A space inside a number, where up to three digits stand before it: "12 500" but not "2019 500"."""
    before = re.search(r"\d+\Z", space.string[max(0, space.start() - 4) : space.start()])
    whole = before is not None and len(before.group()) <= 3 and not before.group().startswith("0")
    return _GAP if whole else space.group()


def _read(text: str, match: re.Match[str], language: str, *, words_alone: bool) -> _Found | None:
    """The figure that begins at a match; None for a name such as "3D" or a word such as "one of them"."""
    word, end = match["word"], match.end()
    number = _WORDS[word.casefold()] if word else _value(match["digits"], language)
    closed = bool(match["open"]) and text[end : end + 1] == ")"
    scale, scaled = Decimal(1), _SCALE.match(text, end + closed)
    if scaled:
        end, scale = scaled.end(), _scale(scaled, language)
    unit, factor = (match["sign"] or match["sign2"] or "").strip(" -"), "1"
    measured = _UNIT.match(text, end + (closed and not scaled))
    if measured and _is_other_word(measured["unit"], language):
        measured = None
    if measured and not unit:
        end = measured.end()
        unit, factor = _UNITS[re.sub(r"\s", " ", measured["unit"].casefold())]
        unit += f"/{measured['per'].casefold()}" if measured["per"] else ""
    if not unit and not scaled and _AGE.search(text[max(0, match.start() - 60) : match.start()]):
        unit, factor = _UNITS["years"]
    lone_word = word and not (unit or scaled) and not (words_alone and stands_alone(word, language))
    if lone_word or re.match(r"[a-z]", text[end:], re.IGNORECASE | re.ASCII):
        return None
    # Accounts write a loss in brackets; so stand years and footnotes in a text, which are no losses.
    is_amount = bool(unit or re.search(r"[.,]", match["digits"] or ""))
    negative = bool(match["minus"] or match["inner"]) or (closed and is_amount)
    before = re.split(r"[.;!?\n]", text[max(0, match.start() - 60) : match.start()])[-1]
    falls = closed or bool(_FALL.search(before))
    return _Found(match.start(), end, -number if negative else number, scale, unit, Decimal(factor), falls)


def _is_other_word(unit: str, language: str) -> bool:
    """Whether what reads like a unit is none: "$30 an hour", "a 5G phone"."""
    return (unit.casefold() == "an" and language != "fr") or unit == "G"


def _value(digits: str, language: str) -> Decimal:
    """The number that digits with separators mean; a lone mark before three digits goes by the language."""
    digits = digits.replace(_GAP, "")
    marks = re.findall(r"[.,]", digits)
    if not marks:
        return Decimal(digits)
    last, group = marks[-1], "." if language in _COMMA_DECIMAL else ","
    lone_group = last == group and re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", digits)
    if lone_group or (len(marks) > 1 and len(set(marks)) == 1):
        return Decimal(digits.replace(last, ""))
    whole, _, part = digits.rpartition(last)
    return Decimal(f"{re.sub('[.,]', '', whole)}.{part}")


def _scale(match: re.Match[str], language: str) -> Decimal:
    if match["letter"]:
        return Decimal(_LETTER_SCALES[match["letter"]])
    word = re.sub(r"\s", " ", match["scale"].casefold())
    long_scale = word in {"billion", "billions"} and language in {"fr", "es"}
    return Decimal(10**12 if long_scale else _SCALES[word])


def _lend_units(text: str, found: list[_Found]) -> None:
    """In "5 to 10 million mg", "$5-10" or "ages 3 to 8" the unit and scale of one end hold for the other."""
    for left, right in zip(found[-2::-1], found[:0:-1], strict=True):
        if not _RANGE.fullmatch(text[left.end : right.start]):
            continue
        if not left.unit:
            left.unit, left.factor = right.unit, right.factor
            left.scale = left.scale if left.scale != 1 else right.scale
        elif not right.unit and (left.unit in "$€£¥" or _AGE.search(text[: left.start])):
            right.unit, right.factor = left.unit, left.factor


def in_scale(figure: Quantity, scale: str) -> Quantity:
    """A table's figure in the scale that stands over the table: `thousand`, `million`, `percent` or "".

    Raises:
        DataError: there is no such scale.
    """
    if not scale or figure.unit == "%":
        return figure
    if scale == "percent":
        return replace(figure, unit="%")
    if scale not in _TABLE_SCALES:
        known = ", ".join(("percent", *_TABLE_SCALES))
        raise DataError(
            Problem("a row's `scale`", f"unknown scale {scale!r}", f"known: {known}, or leave it out")
        )
    factor = _SCALES[scale]
    return replace(figure, value=figure.value * factor, stated=figure.stated * factor)
