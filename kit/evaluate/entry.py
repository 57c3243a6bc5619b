"""One entry of `metrics` in `scores.json`: whatever is measured, it has the same fields."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kit.hooks import About


def metric_entry(
    *,
    name: str,
    label: str,
    about: About,
    kind: Literal["rate", "score"],
    higher_is_better: bool,
    compared: Mapping[str, Any],
    decoding: str = "greedy",
    of_sums: bool = False,
    slices: Sequence[Mapping[str, Any]] = (),
    details: Mapping[str, Mapping[str, int]] | None = None,
    severities: Mapping[str, Any] | None = None,
    harm: Mapping[str, str] | None = None,
    by_group: Mapping[str, Any] | None = None,
    baselines: Mapping[str, Any] | None = None,
    ratio: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """An entry with every field of `kit.evaluate.contract.Metric`; what a metric does not have is empty.

    Args:
        compared: `n`, `groups`, `base`, `tuned`, `difference`, `reduction` and `verdict`, as
            `Compared.as_json` gives them.
    """
    return {
        "name": name,
        "label": label,
        "about": about,
        "kind": kind,
        "higher_is_better": higher_is_better,
        "of_sums": of_sums,
        "decoding": decoding,
        **compared,
        "by_group": by_group,
        "ratio": ratio,
        "slices": list(slices),
        "details": details or {"base": {}, "tuned": {}},
        "severities": severities,
        "harm": harm,
        "baselines": baselines or {},
    }
