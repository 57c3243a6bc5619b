"""Share of answers that state every figure of the reference with its value and unit, and no other."""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.numbers import Quantity, in_scale, quantities


class NumberFidelity(ItemMetric):
    """1 if the reference's figures all stand in the answer and no figure of their units contradicts them."""

    label = "Figures right (value and unit)"
    about = "agreement"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = (
        "answers with every figure of the reference, and none that contradicts / references with a figure"
    )

    def applies(self, reference: Reference) -> bool:
        """Whether the row's `figures`, or else its reference `answer`, hold a figure."""
        return bool(_wanted(reference))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with how many figures are missing and how far off the contradicting ones are."""
        language = str(reference.get("language") or "")
        found, wanted = quantities(prediction, language, words_alone=True), _wanted(reference)
        missing = [figure for figure in wanted if not any(_states(other, figure) for other in found)]
        known = [*wanted, *quantities(str(reference.get("prompt") or ""), language, words_alone=True)]
        units = {figure.unit for figure in wanted if figure.unit}
        others = [
            figure
            for figure in found
            if figure.unit in units and not any(_states(figure, other) for other in known)
        ]
        reasons = [f"{len(missing)} of {len(wanted)} figures missing"] if missing else []
        reasons += sorted({f"contradicts: {_how_far(figure, wanted)}" for figure in others})
        return float(not reasons), reasons


def _wanted(reference: Reference) -> list[Quantity]:
    """The figures of `figures`, texts or numbers in the row's `scale`, or else of `answer`."""
    given = reference.get("figures")
    listed = [reference.get("answer")] if given in (None, [], "") else given
    texts = [str(text) for text in (listed if isinstance(listed, list) else [listed]) if text is not None]
    scale = str(reference.get("scale") or "") if given else ""
    return list(_read(tuple(texts), scale, str(reference.get("language") or "")))


@lru_cache(maxsize=4096)
def _read(texts: Sequence[str], scale: str, language: str) -> tuple[Quantity, ...]:
    """Read once, though every system and decoding is held against the same reference."""
    figures = [figure for text in texts for figure in quantities(text, language, words_alone=True)]
    return tuple(in_scale(figure, scale) for figure in figures)


def _states(found: Quantity, wanted: Quantity) -> bool:
    """Whether a figure of the answer is the wanted one; a bare wanted number may be given any unit."""
    return found.agrees(wanted) and (not wanted.unit or _same_unit(found.unit, wanted.unit))


def _same_unit(one: str, other: str) -> bool:
    """Whether two units are one; "20 pounds" may be weight or money."""
    return one == other or {one, other} == {"£", "lb"}


def _how_far(figure: Quantity, wanted: Sequence[Quantity]) -> str:
    """Ten- and thousandfold errors by name: a slipped point or a wrong scale, the worst kind in a dose."""
    of_unit = [other for other in wanted if other.unit == figure.unit]
    for other in of_unit:
        if figure.value == -other.value:
            return "the other sign"
        ratio: Any = figure.value / other.value if other.value else Decimal(0)
        for power in (10, 100, 1000, 1_000_000):
            if ratio == power:
                return f"{power:,} times the reference's"
            if ratio * power == 1:
                return f"a {power:,}th of the reference's"
    return f"another figure in {figure.unit}"
