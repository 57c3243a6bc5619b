"""One entry of `metrics` in `scores.json`: whatever is measured, it has the same fields."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kit.evaluate.compare import Items, Settings, Slices, Statistic, compare, compare_slices
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
    turns: Sequence[Mapping[str, Any]] | None = None,
    axes: Sequence[Mapping[str, Any]] = (),
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
        **({"turns": list(turns)} if turns else {}),
        **({"axes": list(axes)} if axes else {}),
    }


def compared_entry(
    items: Sequence[Items],
    groups: Sequence[str],
    slices: Slices,
    settings: Settings,
    *,
    kind: Literal["rate", "score"],
    higher_is_better: bool,
    statistic: Statistic | None = None,
    **about: Any,
) -> dict[str, Any] | None:
    """The entry of what is compared item by item, or by sums of counts, whole and by slice.

    Args:
        items: of base and of tuned, as many as there are `groups` and `slices`.
        about: the other fields of `metric_entry`.

    Returns:
        None if nothing has an item of both.
    """
    base, tuned = items
    how: dict[str, Any] = {
        "kind": kind,
        "higher_is_better": higher_is_better,
        "settings": settings,
        "statistic": statistic,
    }
    compared = compare(base, tuned, groups, **how)
    if compared is None:
        return None
    return metric_entry(
        **about,
        kind=kind,
        higher_is_better=higher_is_better,
        of_sums=statistic is not None,
        compared=compared.as_json(),
        slices=compare_slices(base, tuned, groups, slices, **how),
    )
