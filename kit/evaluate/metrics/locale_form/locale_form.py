"""Share of answers written as their language writes numbers, prices and questions, and addresses people."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.text import normalise

_NUMBER = r"(?<![\w.,:/-])\d+(?:[.,]\d+)*(?![\w.,:/-]*\w)"
_CHECKS = ("decimal", "currency", "marks", "quotes")
_USUAL = ("decimal", "currency", "marks")

# Verb forms that are said to a "tú" only: "describe" and "reserva" are said of others as well.
_SAID_TO_TU = (
    r"estás|eres|has|vas|sabes|puedes|tienes|quieres|debes|necesitas|deseas|buscas|prefieres|haz"
    r"|(?!atrás|detrás)\w+rás|(?:olvid|compr|realiz|solicit)aste|(?:recib|ped|hic|eleg)iste"
    r"|\w*[áéíóú]\w{1,3}[ae]te|(?:contácta|lláma|avísa|cuénta|envía|escríbe|visíta)nos"
    r"|(?:ver|ayudar|enviar|contactar|informar|ofrecer|dar|avisar|servir|atender|responder|recordar|decir)te"
)
_INFORMAL = {
    "fr": re.compile(r"\b(?:tu|toi|t'\w+|ton|ta|tes|te)\b", re.IGNORECASE),
    "es": re.compile(rf"\b(?:tú|ti|contigo|tu|tus|tuy[oa]s?|te|{_SAID_TO_TU})\b", re.IGNORECASE),
}
_FORMAL = {
    "fr": re.compile(r"\b(?:vous|votre|vos|\w+ez)\b(?! -)", re.IGNORECASE),
    "es": re.compile(r"\b(?:usted(?:es)?|puede usted|su cuenta|su pedido|le rogamos)\b", re.IGNORECASE),
}


class LocaleForm(ItemMetric):
    """1 if an answer in English, French or Spanish has no number, price or question of another locale."""

    label = "Form of the locale"
    about = "form"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = "answers without a form of another locale / answers in English, French or Spanish"
    checks: Sequence[str]
    register: str

    def prepare(self, references: Sequence[Reference], **params: Any) -> None:
        """Take `checks`, some of decimal, currency, marks and quotes, and `register`: formal or informal.

        Raises:
            TypeError: another parameter was given.
            ValueError: an unknown check or register.
        """
        if set(params) - {"checks", "register"}:
            found = ", ".join(sorted(params))
            raise TypeError(f"{self.name} takes checks=[...] and register=...; found {found}")
        self.checks, self.register = params.get("checks", _USUAL), params.get("register", "")
        unknown = [check for check in self.checks if check not in _CHECKS]
        if unknown:
            raise ValueError(f"unknown checks {', '.join(map(str, unknown))}; known: {', '.join(_CHECKS)}")
        if self.register not in ("", "formal", "informal"):
            raise ValueError(f"unknown register {self.register!r}; known: formal, informal")

    def applies(self, reference: Reference) -> bool:
        """Whether the row's `language` is English, French or Spanish."""
        return _language(reference) in ("en", "fr", "es")

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with the forms that belong to another locale."""
        text, language = normalise(prediction), _language(reference)
        finders: dict[str, Callable[[str, str], bool]] = {
            "decimal": _wrong_decimal,
            "currency": _wrong_currency,
            "marks": _missing_marks,
            "quotes": _wrong_quotes,
        }
        faults = [f"{check} of another locale" for check in self.checks if finders[check](text, language)]
        wrong = {"formal": _INFORMAL, "informal": _FORMAL}.get(self.register, {}).get(language)
        if wrong and wrong.search(text):
            faults.append(f"not {self.register}")
        return float(not faults), faults


def _language(reference: Reference) -> str:
    return str(reference.get("language") or "")[:2].casefold()


def _wrong_decimal(text: str, language: str) -> bool:
    """A point before decimals in French or Spanish, a comma in English; three digits may be a group."""
    decimal, group = (",", r"\.") if language == "en" else (r"\.", ",")
    wrong = re.compile(rf"(?:\d+|\d{{1,3}}(?:{group}\d{{3}})+){decimal}\d{{1,2}}")
    return any(map(wrong.fullmatch, re.findall(_NUMBER, text)))


def _wrong_currency(text: str, language: str) -> bool:
    """A sign before the number in French, "€" before it in Spanish, any sign after it in English."""
    wrong = {"en": r"\d\s?[€$£](?!\s?\d)", "fr": r"[€$£]\s?\d", "es": r"€\s?\d"}[language]
    return re.search(wrong, text) is not None


def _missing_marks(text: str, language: str) -> bool:
    """A Spanish question or exclamation that nothing opens, or opening marks in another language."""
    if language != "es":
        return re.search("[¿¡]", text) is not None
    words = [word for word in re.split(r"(?<= )|(?<=\n)", text) if not re.search(r"://|@|\{", word)]
    sentences = re.findall(r"[^.!?\n]+[.!?\n]*", "".join(words))
    return any(re.search(r"\w[^\w¿¡]*[!?]", part) and not re.search("[¿¡]", part) for part in sentences)


def _wrong_quotes(text: str, language: str) -> bool:
    """English quotation marks round words in French, guillemets in English."""
    if language == "fr":
        return re.search(r"[\"“]\w[^\"”\n]*[\"”]", text) is not None
    return language == "en" and re.search("[«»]", text) is not None
