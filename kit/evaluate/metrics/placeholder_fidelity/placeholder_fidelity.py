"""Share of answers in which every placeholder, address, order number and amount comes through unchanged."""

import re
import unicodedata
from collections import Counter

from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.numbers import quantities

_ADDRESS = re.compile(
    r"(?:https?://|www\.)[^\s<>\"')\]]+|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.IGNORECASE
)
_PLACEHOLDER = re.compile(
    r"\{\{[^{}]+\}\}|[%$]?\{[^{}\s]+\}|%(?:\d\$)?[sd](?!\w)|(?<![\w:/.]):[a-z]\w+(?![\w:])|\[[A-Z][A-Z_ ]+\]"
)
# "A-1234", "#98", "4412345": letters and digits together, a number sign, or five digits and more.
_CODE = re.compile(
    r"(?<![\w-])(?:(?=[A-Z0-9-]*\d)(?=[A-Z0-9-]*[A-Z])[A-Z0-9]+(?:-[A-Z0-9]+)*|#\d+|\d{5,})(?![\w-]|[.,]\d)"
)
_MONEY = frozenset("$€£¥")


class PlaceholderFidelity(ItemMetric):
    """1 if the answer has the placeholders of its source, as often, and its addresses, codes and amounts."""

    label = "Placeholders and codes kept"
    about = "form"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = "answers with every mark of the source and no other / rows whose source has one"

    def applies(self, reference: Reference) -> bool:
        """Whether the row's `source`, or else its reference `answer`, has a mark."""
        return any(_marks(*_source(reference)))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with what is missing or new, by kind; what the customer wrote may always be repeated."""
        placeholders, values = _marks(*_source(reference))
        given, named = _marks(prediction, str(reference.get("language") or ""))
        asked, said = _marks(str(reference.get("prompt") or ""), str(reference.get("language") or ""))
        reasons = {f"missing {_kind(mark)}" for mark in [*(placeholders - given), *(values - named)]}
        new = [*(mark for mark in given - placeholders if mark not in asked), *(named - values - said)]
        return float(not reasons and not new), sorted(reasons | {f"new {_kind(mark)}" for mark in new})


def _source(reference: Reference) -> tuple[str, str]:
    """The text whose marks must come through, and its language."""
    if reference.get("source"):
        return str(reference["source"]), str(reference.get("source_language") or "")
    return str(reference.get("answer") or ""), str(reference.get("language") or "")


def _marks(text: str, language: str) -> tuple[Counter[str], set[str]]:
    """A text's placeholders, counted, and its addresses, codes and amounts of money."""
    plain = unicodedata.normalize("NFKC", text)
    values = {found.group().rstrip(".,;:!?").casefold() for found in _ADDRESS.finditer(plain)}
    plain = _ADDRESS.sub(" ", plain)
    placeholders = Counter(re.sub(r"\s+", " ", found).strip() for found in _PLACEHOLDER.findall(plain))
    plain = _PLACEHOLDER.sub(" ", plain)
    amounts = [figure for figure in quantities(plain, language) if figure.unit in _MONEY]
    values |= {f"{figure.unit} {figure.value.normalize():f}" for figure in amounts}
    for figure in amounts:
        plain = plain.replace(figure.text, " ")
    return placeholders, values | set(_CODE.findall(plain))


def _kind(mark: str) -> str:
    if _PLACEHOLDER.fullmatch(mark):
        return "placeholder"
    if _ADDRESS.fullmatch(mark):
        return "address"
    return "amount" if mark[0] in _MONEY else "code"
