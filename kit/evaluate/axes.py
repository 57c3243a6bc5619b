"""Points of rubrics axis by axis, such as accuracy and completeness: where an answer loses them.

As HealthBench has it (OpenAI 2025, arXiv:2505.08775): an answer's points on the criteria of one axis by
the points above 0 of that axis, the mean over rows held within 0 and 1. A row without points above 0 there
says nothing of the axis.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kit.evaluate.compare import Settings, compare
from kit.evaluate.criteria import mean_held
from kit.evaluate.material import Answered
from kit.evaluate.metrics import LoadedMetric
from kit.evaluate.prompts import Prompt
from kit.evaluate.timing import SYSTEMS

Shares = Mapping[str, float]
"""Axis -> the share of its points that an answer earns."""


def metric_axes(
    metric: LoadedMetric, answered: Mapping[str, Answered], prompts: Sequence[Prompt], settings: Settings
) -> list[dict[str, Any]]:
    """The axes of a metric that reads rubrics; none of others. An invalid answer meets nothing."""
    if metric.module is None:
        return []
    shares: dict[str, list[Shares | None]] = {system: [] for system in SYSTEMS}
    for system, said in shares.items():
        outputs = zip(prompts, answered[system].outputs, answered[system].invalid, strict=True)
        for prompt, output, reason in outputs:
            reference = prompt.reference
            valid = output if reason is None else ""
            said.append(metric.module.by_axis(valid, reference) if metric.applies(reference) else {})
    return compare_axes(shares, [prompt.group for prompt in prompts], settings)


def compare_axes(
    shares: Mapping[str, Sequence[Shares | None]], groups: Sequence[str], settings: Settings
) -> list[dict[str, Any]]:
    """`axes` of a metric's entry: both systems on every axis, with intervals, shown and not tested.

    Args:
        shares: of base and of tuned, for every prompt; None where nothing is known of the answer.
    """
    names = sorted({axis for said in shares.values() for one in said for axis in one or {}})
    found = []
    for name in names:
        base, tuned = (
            [[one[name], 1.0] if one and name in one else None for one in shares[system]]
            for system in SYSTEMS
        )
        compared = compare(
            base,
            tuned,
            groups,
            kind="score",
            higher_is_better=True,
            settings=settings,
            statistic=mean_held,
        )
        if compared is not None:
            figures = compared.as_json(tested=False)
            kept = ("n", "groups", *SYSTEMS, "difference")
            found.append({"axis": name, **{key: figures[key] for key in kept}})
    return found
