"""What the kit's own metrics can come to, so that a threshold that no score reaches is refused at once.

A metric of the project's hooks, or of a harness, has no range that is known here.
"""

import math
from collections.abc import Iterator
from typing import Any

from kit.config.explain import Finding, dotted
from kit.config.yaml_lines import Key

Range = tuple[float, float]

RANGES: dict[str, Range] = {
    **dict.fromkeys(
        (
            "answer_length", "brier_score", "calibration_error", "citation_fidelity", "closed_accuracy",
            "contradiction", "disclosure_rate", "escalation_recall", "exact_match", "final_number",
            "glossary_adherence", "hand_over_rate", "judge", "label_set_f1", "label_set_macro_f1",
            "label_set_precision", "label_set_recall", "language_fidelity", "language_lines", "locale_form",
            "macro_f1", "memorised_secrets", "number_fidelity", "over_refusal_rate", "over_triage",
            "placeholder_fidelity", "recommendation_accuracy", "refusal_rate", "repetition",
            "resolution_rate", "risk_coverage", "rouge_l", "rubric_score", "slot_accuracy", "token_f1",
            "under_triage", "violation_rate",
        ),
        (0.0, 1.0),
    ),
    "bleu": (0.0, 100.0),
    "chrf": (0.0, 100.0),
    "answer_perplexity": (1.0, math.inf),
    "response_time": (0.0, math.inf),
}  # fmt: skip
"""Metric -> the least and the most it can score; each metric's card says the same."""


def check_threshold(key: Key, entry: dict[str, Any]) -> Iterator[Finding]:
    """Thresholds of a gate or claim that its metric cannot come to.

    Args:
        key: where the entry stands, such as `("gates", 0)`.
        entry: the gate or claim as it is written.
    """
    metric = entry.get("metric")
    known = RANGES.get(metric) if isinstance(metric, str) else None
    figure = str(entry.get("of") or "tuned")
    if known is None or figure not in ("tuned", "difference", "reduction", "ratio"):
        return
    low, high = _range_of(figure, known)
    for name in ("at_least", "at_most"):
        wanted = entry.get(name)
        if isinstance(wanted, bool) or not isinstance(wanted, int | float):
            continue
        if not math.isfinite(wanted) or low <= wanted <= high:  # the schema refuses what is not finite
            continue
        place: Key = (*key, name)
        share = wanted / 100
        hint = f"a share is written as such: {share:g}" if high == 1 and low <= share <= high else ""
        what = metric if figure == "tuned" else f"the {figure} of {metric}"
        bounds = f"{low:g} to {high:g}" if high < math.inf and low > -math.inf else _one_bound(low, high)
        yield Finding(
            place, f"`{dotted(place)}`: {what} is {bounds}, so that {wanted:g} decides nothing", hint
        )


def _one_bound(low: float, high: float) -> str:
    return f"{low:g} or more" if low > -math.inf else f"{high:g} or less"


def _range_of(figure: str, known: Range) -> Range:
    """The range of a figure that is made from scores of a range."""
    low, high = known
    if figure == "difference":
        return low - high, high - low
    if figure == "reduction":
        return -math.inf, 1.0
    return (0.0, math.inf) if figure == "ratio" else known
