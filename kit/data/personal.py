"""Personal data and secrets in a text: what they look like, and how they are shown without being told.

A value is found by its form and held against its check digits where its kind has any: python-stdnum
knows cards, IBAN and national numbers, phonenumbers the numbering plans. What has neither check digits
nor a form of its own counts only beside a word that says what it is (`MRN`, `SSN`, `tel.`, `password:`).
Names of people have neither: names.py finds them with a model, where the settings name one.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, get_args

from stdnum import iban, luhn
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.us import ssn

from kit.config.schema_data import FormKind, PersonalKind
from kit.data.credentials import find_secrets
from kit.data.phones import find_phones
from kit.data.scan import Span, digits, said_before, scan

KINDS: tuple[FormKind, ...] = get_args(FormKind)
"""In the order in which they claim a stretch of text: a card number is no telephone number."""

SURE = 6
"""A value of so many characters is meant wherever it stands; a shorter one may be a year elsewhere."""

People = Callable[[str], Iterable[Span]]
"""What finds names of people in a text."""


@dataclass(frozen=True)
class Found:
    """One value in a text."""

    kind: PersonalKind
    start: int
    end: int
    text: str
    """As it stands there."""
    key: str
    """The same for the same value, however it is written."""

    @property
    def shown(self) -> str:
        """The value shortened, enough to recognise it by: `4111 **** 1111`."""
        return _shortened(self.kind, self.text)


def find(text: str, kinds: Collection[PersonalKind] = KINDS, people: People | None = None) -> list[Found]:
    """All values of these kinds and names of people, by where they stand; none overlaps another."""
    found: list[Found] = []
    numbers = _SIX_CLOSE.search(text) is not None
    for kind in KINDS:
        if kind not in kinds or (kind in _NUMBERS and not numbers):
            continue
        _claim(found, kind, text, _FINDERS[kind](text))
    _claim(found, "name", text, people(text) if people else ())
    return sorted(found, key=lambda one: one.start)


def find_answered(
    text: str, question: str, kinds: Collection[PersonalKind] = KINDS, people: People | None = None
) -> list[Found]:
    """As `find`, for a short message that answers a question: `What is your number?` says what it holds."""
    lead = question.rstrip(" ?.!:\u00a0")[-_SAID_WITHIN:] + ": "
    if len(text) > _SHORT or not _SIX_CLOSE.search(text) or _DIGIT.search(lead):
        return find(text, kinds, people)
    found = [
        replace(one, start=one.start - len(lead), end=one.end - len(lead))
        for one in find(lead + text, kinds)
        if one.start >= len(lead)
    ]
    _claim(found, "name", text, people(text) if people else ())
    return sorted(found, key=lambda one: one.start)


def _claim(found: list[Found], kind: PersonalKind, text: str, spans: Iterable[Span]) -> None:
    for start, end, key in spans:
        if all(end <= other.start or other.end <= start for other in found):
            found.append(Found(kind, start, end, text[start:end], key))


def redact(text: str, people: People | None = None) -> str:
    """The text with every value shortened, for reports and messages."""
    parts, at = [], 0
    for one in find(text, people=people):
        parts += [text[at : one.start], one.shown]
        at = one.end
    return "".join([*parts, text[at:]])


def redact_all(value: Any, people: People | None = None) -> Any:
    """A JSON value with all its texts redacted, keys and whole numbers among them. What a message or a key
    says the next text is (`What is your number?`, `phone_number`) counts, and what is found so is shortened
    wherever it stands.
    """
    known = {
        one.text: one.shown
        for text, question in named_texts(value)
        if question
        for one in find_answered(text, question)
        if len(one.text) >= SURE
    }
    longest_first = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
    pattern = re.compile(f"(?<![A-Za-z0-9])(?:{longest_first})(?![A-Za-z0-9])") if known else None

    def shortened(text: str) -> str:
        text = redact(text, people)
        return pattern.sub(lambda match: known[match[0]], text) if pattern else text

    return changed(value, shortened)


def redact_lines(text: str, people: People | None = None) -> str:
    """A dialogue as one text, redacted: a line may say what the next one is."""
    lines = [{"content": line} for line in redact(text, people).split("\n")]
    return "\n".join(line["content"] for line in redact_all(lines))


def named_texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """All texts of a JSON value, whole numbers and keys among them, each with the question before it: the
    name that it stands under, and of a message in a list the message before it. None is an empty text.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, ""
            yield from named_texts(item, key)
    elif isinstance(value, list):
        before = ""
        for item in value:
            yield from named_texts(item, name)
            said = next((item[key] for key in _SAID if key in item), "") if isinstance(item, dict) else ""
            if isinstance(said, str) and before:
                yield said, before
            before = said if isinstance(said, str) else ""
    elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        # Columns of numbers lose their quotes.
        yield str(value), f"{name.replace('_', ' ')}?" if name else ""


def changed(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with all its texts changed; a number that the change leaves alone stays a number."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, int) and not isinstance(value, bool):
        text = change(str(value))
        return value if text == str(value) else text
    if isinstance(value, list):
        return [changed(part, change) for part in value]
    if isinstance(value, dict):
        return {change(key): changed(item, change) for key, item in value.items()}
    return value


_SAID = ("content", "value")
"""What holds the text of a message, in OpenAI's words and in ShareGPT's."""

# Most texts have no six digits close together, and all of these kinds have: one look spares four searches.
_SIX_CLOSE = re.compile(r"\d(?:[ .()\u00a0\u202f\u2011-]{0,3}\d){5}", re.ASCII)
_DIGIT = re.compile(r"\d")
_SHORT = 60  # characters
_SAID_WITHIN = 35  # of the question's end
_NUMBERS = ("iban", "card", "national_id", "phone")

_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w%+'-][\w.%+'-]*@(?:[\w-]+\.)+[a-z]{2,24}(?![\w-]|\.\w)", re.IGNORECASE | re.ASCII
)
_FILE_ENDINGS = ("png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js")  # icon@2x.png is no address
_IBAN = re.compile(
    r"(?<![\w-])[A-Z]{2}\d{2}(?:[ \u00a0-]?[A-Z0-9]){11,30}(?![\w-])", re.IGNORECASE | re.ASCII
)
_CARD = re.compile(r"(?<![\w.,-])\d(?:[ \u00a0-]?\d){12,18}(?![\w-]|[.,]\d)", re.ASCII)
_CARD_GROUPS = re.compile(r"4,4,4,4|4,6,5|4,6,4|4,4,4,4,3|4,4,5|1[3-9]")
# Visa; American Express; Diners; then Mastercard, Maestro, Discover, UnionPay, JCB (ISO/IEC 7812 ranges).
# Other lengths are in use, but a tenth of all order numbers of that length passes as a card: see _CARD_SAID.
_ISSUER = re.compile(
    r"4\d{15}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}"
    r"|(?=\d{16}$)(?:5[0-8]|6\d|222[1-9]|22[3-9]|2[3-6]|27[01]|2720|35(?:2[89]|[3-8]))\d+"
)
_CARD_SAID = re.compile(r"\b(?:card|carte|tarjeta|visa|mastercard|amex)\b", re.IGNORECASE)
_SSN = re.compile(r"(?<![\w.-])\d{3}([ -]?)\d{2}\1\d{4}(?![\w-]|\.\d)", re.ASCII)
_SSN_SAID = re.compile(r"\b(?:ssn|social(?: security)?)\b", re.IGNORECASE)
_NINO = re.compile(
    r"(?<![\w-])(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
    r" ?\d{2} ?\d{2} ?\d{2} ?[A-D](?![\w-])",
    re.ASCII,
)
_NHS = re.compile(r"(?<![\w.-])\d{3}[ -]?\d{3}[ -]?\d{4}(?![\w-])", re.ASCII)
_NHS_SAID = re.compile(r"\bnhs\b", re.IGNORECASE)
_NIR = re.compile(
    r"(?<![\w.-])[1-478][ .]?\d{2}[ .]?\d{2}[ .]?(?:\d{2}|2[AB])[ .]?\d{3}[ .]?\d{3}[ .-]?\d{2}(?![\w-])",
    re.IGNORECASE | re.ASCII,
)
_DNI = re.compile(
    r"(?<![\w.-])(?:[XYZ][ -]?\d{7}|\d{8}|\d{2}\.\d{3}\.\d{3})[ -]?[A-HJ-NP-TV-Z](?![\w-])",
    re.IGNORECASE | re.ASCII,
)
_DIGITS = re.compile(r"\d.{0,2}\d")
_RECORD = re.compile(
    r"\b(?:(?:mrn|nhc|nuhsa|ipp|(?:medical|patient|hospital|health|chart)(?:[ _](?:record|chart|file))?"
    r"[ _](?:id|number|no\b\.?|n[°º]|#)"
    r"|(?:num[ée]ro|n[°º])(?: de)? (?:dossier(?: m[ée]dical)?|patient)|dossier (?:m[ée]dical|patient)"
    r"|(?:n[úu]mero|n[°º]|no\.)(?: de)? historia(?: cl[íi]nica)?|historia cl[íi]nica"
    r")(?: ?(?:number|num[ée]ro|n[úu]mero|no\.?|n[°º]|id))?)"
    r"(?: (?:is|was|est|es|reads))?[\s:#=.°º]{0,4}(?P<value>[A-Z]{0,4}-?\d[\d-]{2,14}\d)(?![\w-])",
    re.IGNORECASE,
)
_IP4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)", re.ASCII)
_IP6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{1,4}:{1,2}){2,7}[0-9a-f]{1,4}(?![\w:])", re.IGNORECASE | re.ASCII)
_IP_SAID = re.compile(r"\b(?:ip|host|server|address|adresse|direcci[óo]n)\b", re.IGNORECASE)
_NO_IP_SAID = re.compile(
    r"\b(?:version|v|firmware|build|release|section|rule|chapter|article|[Ss]ec)\.? *$", re.IGNORECASE
)


def _emails(text: str) -> Iterator[Span]:
    if "@" not in text:
        return
    for match in _EMAIL.finditer(text):
        address = match[0].casefold()
        if not address.endswith(_FILE_ENDINGS):
            yield match.start(), match.end(), address


def _ibans(text: str) -> Iterator[Span]:
    def accept(start: int, end: int) -> str | None:
        value = text[start:end].replace("\u00a0", " ")
        return iban.compact(value).upper() if iban.is_valid(value) else None

    return scan(_IBAN, text, accept)


def _cards(text: str) -> Iterator[Span]:
    def accept(start: int, end: int) -> str | None:
        value = text[start:end]
        groups = ",".join(str(len(group)) for group in re.split(r"\D+", value))
        number = digits(value)
        if not _CARD_GROUPS.fullmatch(groups) or not luhn.is_valid(number):
            return None
        known = _ISSUER.fullmatch(number) or said_before(text, start, _CARD_SAID)
        return number if known else None

    return scan(_CARD, text, accept)


def _national_ids(text: str) -> Iterator[Span]:
    for match in _SSN.finditer(text):
        said = said_before(text, match.start(), _SSN_SAID)
        if said or (match[1] and ssn.is_valid(digits(match[0]))):
            yield match.start(), match.end(), digits(match[0])
    for match in _NIR.finditer(text):
        if nir.is_valid(re.sub(r"[ .-]", "", match[0]).upper()):
            yield match.start(), match.end(), _letters_and_digits(match[0])
    for match in _NINO.finditer(text):
        yield match.start(), match.end(), _letters_and_digits(match[0])
    for match in _DNI.finditer(text):
        value = _letters_and_digits(match[0])
        if (nie if value[0] in "XYZ" else dni).is_valid(value):
            yield match.start(), match.end(), value
    for match in _NHS.finditer(text):
        if said_before(text, match.start(), _NHS_SAID) and nhs.is_valid(digits(match[0])):
            yield match.start(), match.end(), digits(match[0])


def _medical_records(text: str) -> Iterator[Span]:
    for match in _RECORD.finditer(text) if _DIGITS.search(text) else ():
        yield match.start("value"), match.end("value"), _letters_and_digits(match["value"])


def _ips(text: str) -> Iterator[Span]:
    for match in _IP4.finditer(text) if text.count(".") >= 3 else ():
        address = _public(match[0])
        if not address or _NO_IP_SAID.search(text, max(0, match.start() - 20), match.start()):
            continue
        # Sections of a rule book (3.7.2.1) have small numbers; addresses hardly ever have four of them.
        small = all(int(part) < 32 for part in match[0].split("."))
        if not small or said_before(text, match.start(), _IP_SAID):
            yield match.start(), match.end(), address
    for match in _IP6.finditer(text) if text.count(":") >= 2 else ():
        try:
            address = str(IPv6Address(match[0]))
        except AddressValueError:
            continue
        yield match.start(), match.end(), address


def _public(address: str) -> str | None:
    """The address, unless it is none, a mask, or one that every home or office has."""
    try:
        found = IPv4Address(address)
    except AddressValueError:
        return None
    local = found.is_loopback or found.is_unspecified or found.is_link_local or found.is_multicast
    home = address.startswith(("10.", "192.168.", "255.")) or re.match(
        r"172\.(?:1[6-9]|2\d|3[01])\.", address
    )
    return None if local or home else address


def _letters_and_digits(text: str) -> str:
    return "".join(character for character in text if character.isalnum()).upper()


_FINDERS: dict[FormKind, Callable[[str], Iterator[Span]]] = {
    "secret": find_secrets,
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "national_id": _national_ids,
    "medical_record": _medical_records,
    "ip": _ips,
    "phone": find_phones,
}

# How many characters of a value are shown at its beginning and at its end.
_SHOWN: dict[PersonalKind, tuple[int, int]] = {
    "iban": (4, 4),
    "card": (4, 4),
    "national_id": (0, 2),
    "medical_record": (0, 2),
    "phone": (3, 2),
}


def _shortened(kind: PersonalKind, value: str) -> str:
    if kind == "email":
        name, _, domain = value.partition("@")
        return f"{name[0]}***@{domain}"
    if kind == "ip":
        return f"{re.split('[.:]', value)[0]}.***"
    if kind == "secret":  # a token's first letters name its issuer; of a password nothing is shown
        return f"{value[:4]}****" if len(value) >= 20 else "****"
    if kind == "name":
        return " ".join(f"{word[0]}***" for word in value.split())
    first, last = _SHOWN[kind]
    compact = re.sub(r"[^0-9A-Za-z+]", "", value)
    return " ".join(part for part in (compact[:first], "****", compact[-last:]) if part)
