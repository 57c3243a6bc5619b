"""Valid personal data, made up: numbers with right check digits, in the forms people write them."""

import random
from collections.abc import Callable, Iterator

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType
from stdnum import iban, luhn
from stdnum.es import dni
from stdnum.fr import nir
from stdnum.us import ssn

SENTENCES = [
    "My value is {}, can you check it?",
    "Please use {} from now on.",
    "Hello, I wrote {} on the form. Is that right?",
    "Bonjour, voici {} pour mon dossier.",
    "Pouvez-vous vérifier {} ? Merci d'avance.",
    "Je l'ai noté ainsi : {}.",
    "Hola, le envío {} para la ficha.",
    "¿Puede comprobar {}? Gracias.",
    "Lo apunté así: {}; avíseme.",
    "{}",
]
"""In English, French and Spanish; none says what the value is."""


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("0123456789", k=count))


def _spaced(text: str, *groups: int) -> str:
    parts, at = [], 0
    for size in groups:
        parts.append(text[at : at + size])
        at += size
    return " ".join([*parts, text[at:]] if text[at:] else parts)


def card(rng: random.Random) -> str:
    start = rng.choice(["4", "51", "2221", "37", "6011", "3528"])
    body = start + _digits(rng, (14 if start == "37" else 15) - len(start))
    number = body + luhn.calc_check_digit(body)
    spaced = _spaced(number, 4, 6, 5) if start == "37" else _spaced(number, 4, 4, 4, 4)
    return rng.choice([number, spaced, spaced.replace(" ", "-")])


def bank_account(rng: random.Random) -> str:
    country = rng.choice(["DE", "GB", "FR"])
    bank = {"DE": "", "GB": "NWBK", "FR": ""}[country]
    account = bank + _digits(rng, {"DE": 18, "GB": 14, "FR": 23}[country])
    number = country + iban.calc_check_digits(f"{country}00{account}") + account
    return rng.choice([number, _spaced(number, *[4] * (len(number) // 4)), number.lower()])


def social_security(rng: random.Random) -> str:
    while True:
        number = f"{_digits(rng, 3)}-{_digits(rng, 2)}-{_digits(rng, 4)}"
        if ssn.is_valid(number):
            return rng.choice([number, number.replace("-", " ")])


def national_insurance(rng: random.Random) -> str:
    number = rng.choice(["AB", "CE", "JG", "PW"]) + _digits(rng, 6) + rng.choice("ABCD")
    return rng.choice([number, _spaced(number, 2, 2, 2, 2, 1)])


def french_nir(rng: random.Random) -> str:
    department = rng.choice(["75", "13", "2A", "69"])
    born = f"{_digits(rng, 2)}{rng.randint(1, 12):02}"
    body = f"{rng.choice('12')}{born}{department}{rng.randint(1, 900):03}{rng.randint(1, 900):03}"
    number = body + nir.calc_check_digits(body)
    return rng.choice([number, _spaced(number, 1, 2, 2, 2, 3, 3, 2)])


def spanish_id(rng: random.Random) -> str:
    number = _digits(rng, 8)
    letter = dni.calc_check_digit(number)
    foreigner = number[1:]
    nie = "X" + foreigner + dni.calc_check_digit("0" + foreigner)
    return rng.choice([number + letter, f"{number}-{letter}", (number + letter).lower(), nie])


def phone(rng: random.Random) -> str:
    """A valid number of one of four countries, as that country's authority groups it."""
    region = rng.choice(["US", "GB", "FR", "ES"])
    kind = rng.choice([PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE])
    example = phonenumbers.example_number_for_type(region, kind)
    keep = 4 if region == "GB" else 3
    start = str(example.national_number)[:keep]
    while True:
        rest = _digits(rng, len(str(example.national_number)) - keep)
        number = phonenumbers.parse(f"+{example.country_code}{start}{rest}")
        if phonenumbers.is_valid_number(number):
            form = rng.choice(
                [PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.E164]
            )
            return phonenumbers.format_number(number, form)


def email(rng: random.Random) -> str:
    name = rng.choice(["ana", "j.doe", "marie-claire", "o'brien", "x_1", "Jose+shop"])
    return f"{name}{_digits(rng, 2)}@{rng.choice(['example.org', 'mail.example.co.uk', 'ejemplo.es'])}"


def address(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return ":".join(f"{rng.randint(4096, 65535):x}" for _ in range(8))
    return f"{rng.randint(80, 99)}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"


def token(rng: random.Random) -> str:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz0123456789"

    def some(count: int) -> str:
        return "1" + "".join(rng.choices(letters, k=count - 1))

    return rng.choice(
        [
            "AKIA" + some(16).upper(),
            "ghp_" + some(36),
            "github_pat_" + some(60),
            "xoxb-" + _digits(rng, 12) + "-" + some(24),
            "sk-proj-" + some(48),
            "sk-" + some(48),
            "hf_" + some(34),
            f"eyJ{some(20)}.eyJ{some(40)}.{some(43)}",
            f"-----BEGIN RSA PRIVATE KEY-----\n{some(64)}\n{some(64)}\n-----END RSA PRIVATE KEY-----",
        ]
    )


MAKERS: dict[str, tuple[str, Callable[[random.Random], str]]] = {
    "card": ("card", card),
    "iban": ("iban", bank_account),
    "SSN": ("national_id", social_security),
    "NINO": ("national_id", national_insurance),
    "NIR": ("national_id", french_nir),
    "DNI": ("national_id", spanish_id),
    "phone": ("phone", phone),
    "email": ("email", email),
    "ip": ("ip", address),
    "token": ("secret", token),
}
"""What is made -> the kind it is found as, and how to make one."""


def sentences(what: str, count: int) -> Iterator[tuple[str, str]]:
    """Pairs of a value and a sentence with it; the same ones every time."""
    rng = random.Random(what)
    for number in range(count):
        value = MAKERS[what][1](rng)
        yield value, SENTENCES[number % len(SENTENCES)].format(value)
