"""Telephone numbers: international ones, and those of English, French and Spanish speaking countries."""

import re
from collections.abc import Iterator

from phonenumbers import (
    NumberParseException,
    PhoneNumberFormat,
    format_number,
    is_possible_number,
    is_valid_number,
    parse,
)

from kit.data.scan import Span, digits, said_before, scan

_GAP = r"[ .\u00a0\u202f\u2011-]"
_NOT_BEFORE = r"(?<![\w@#$€£/=.,+-])"
_NOT_AFTER = rf"(?![\w%€$£-]|[.,/]\d|{_GAP}?(?:€|\$|£|%|euros?\b|dollars?\b|pounds?\b|USD\b|EUR\b|GBP\b))"
_BETWEEN = rf"(?:{_GAP}?\(0\){_GAP}?|{_GAP}?\(|\){_GAP}?|{_GAP})"

_INTERNATIONAL = re.compile(
    rf"(?<![\w+])(?:\+|(?<!\d)00){_GAP}?[1-9](?:{_BETWEEN}?\d){{7,14}}{_NOT_AFTER}", re.ASCII
)
# The groups in which each country writes its numbers. Another grouping is a date, an amount, an order.
_NATIONAL = [
    ("US", rf"(?:1{_GAP})?(?:\([2-9]\d\d\){_GAP}?|[2-9]\d\d{_GAP})\d{{3}}{_GAP}\d{{4}}"),
    ("FR", rf"0[1-9](?:{_GAP}\d\d){{4}}"),
    ("GB", rf"\(?0(?:\d{{4}}\)?{_GAP}\d{{3}}{_GAP}?\d{{3}}|\d{{3}}\)?{_GAP}\d{{3}}{_GAP}\d{{4}})"),
    ("GB", rf"\(?0(?:\d{{2}}\)?{_GAP}\d{{4}}{_GAP}\d{{4}}|7\d{{3}}{_GAP}\d{{6}})"),
    ("ES", rf"[6-9]\d\d(?:(?:{_GAP}\d{{3}}){{2}}|(?:{_GAP}\d\d){{3}})"),
    ("ES", rf"9\d{_GAP}\d{{3}}{_GAP}\d\d{_GAP}\d\d"),
]
_FORMS = [
    (region, re.compile(f"{_NOT_BEFORE}(?:{form}){_NOT_AFTER}", re.ASCII)) for region, form in _NATIONAL
]
_ANY = re.compile(rf"{_NOT_BEFORE}\(?\d(?:{_GAP}?[()]?{_GAP}?\d){{6,12}}{_NOT_AFTER}", re.ASCII)
_WITH_ZERO = ("FR", "GB", "BE", "CH", "IE", "AU", "NZ")  # ten digits are French first, eleven British
_WITHOUT_ZERO = ("US", "ES", "MX", "CO", "AR", "CL", "PE", "IN")

_WORDS = (
    r"\b(?:(?:tele)?phone|t[ée]l[ée]phone|tel[ée]fono|t[ée]l|phone number|mobile|cell(?:phone)?|whatsapp|fax"
    r"|call|ring|text|dial|reach (?:me|us|him|her|them)|appel\w*|joindre|joign\w*|rappel\w*|portable|m[óo]vil"
    r"|celular|(?:my|mon|mi) n(?:umber|um[ée]ro|[úu]mero)|ll[áa]m\w*|marque|contact number)\b"
)
_SAID_ANYWHERE = re.compile(_WORDS, re.IGNORECASE)
_SAID = re.compile(_WORDS + r"(?P<between>[^\d\n]*)$", re.IGNORECASE)
_NUMBER_OF_ELSE = re.compile(
    r"order|invoice|account|reference|\bref\b|card|ticket|tracking|policy|commande|facture|compte|carte"
    r"|r[ée]f[ée]rence|colis|suivi|pedido|factura|cuenta|tarjeta|referencia|de env[íi]o|\bid\b"
    r"|siren|siret|\b(?:vat|tva|iva|nif|cif|amount|total|montant|importe)\b",
    re.IGNORECASE,
)


def find_phones(text: str) -> Iterator[Span]:
    """Numbers with a country code, in the groups of their country, or beside a word such as `tel.`."""
    if "+" in text or "00" in text:
        yield from scan(_INTERNATIONAL, text, lambda start, end: _international(text[start:end]))
    for region, form in _FORMS:
        for match in form.finditer(text):
            # 555 is no area, but stands in many a text: the American form is its own evidence.
            sure = region == "US" and ("-" in match[0] or "(" in match[0])
            key = _national(match[0]) if sure else _key(match[0], region)
            if key and not (region == "ES" and _an_amount_or_else(text, match)):
                yield match.start(), match.end(), key
    if _SAID_ANYWHERE.search(text):
        yield from scan(_ANY, text, lambda start, end: _said(text, start, end))


def _international(value: str) -> str | None:
    # A plus says what the number is; `00` may begin any number, so it must be in use.
    return _key("+" + digits(value.replace("(0)", "")).removeprefix("00"), None, valid=value[0] != "+")


def _said(text: str, start: int, end: int) -> str | None:
    """A number that words before it call a telephone's; its length must be possible."""
    if not said_before(text, start, _SAID):
        return None
    found = _SAID.search(text[max(0, start - 40) : start])
    if found and _NUMBER_OF_ELSE.search(found["between"]):
        return None
    return _national(text[start:end])


def _an_amount_or_else(text: str, match: re.Match[str]) -> bool:
    """Whether the Spanish form, three threes, is how thousands and company numbers are written as well."""
    return match[0].endswith("000") or said_before(text, match.start(), _NUMBER_OF_ELSE)


def _national(value: str) -> str | None:
    """A number without country code: of the first country where it is valid, else taken as American."""
    keys = (_key(value, region) for region in (_WITH_ZERO if digits(value)[0] == "0" else _WITHOUT_ZERO))
    return next((key for key in keys if key), None) or _key(value, "US", valid=False)


def _key(value: str, region: str | None, valid: bool = True) -> str | None:
    """The number in E.164 form; None where no such number can exist."""
    try:
        number = parse(value, region)
    except NumberParseException:
        return None
    if not (is_valid_number(number) if valid else is_possible_number(number)):
        return None
    return str(format_number(number, PhoneNumberFormat.E164))
