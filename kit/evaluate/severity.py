"""How many answers break a policy rule of each severity: what a gate without tolerance looks at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from kit.evaluate.metrics import LoadedMetric, MetricResult
from kit.evaluate.policy import Severity
from kit.evaluate.policy_metric import PolicyMetric
from kit.evaluate.prompts import Prompt

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The worst first."""


def names_rules(metric: LoadedMetric) -> Literal["never", "must"] | None:
    """Which rules the details of a metric name by their ids; None where they name none."""
    return metric.module.rule_kind if isinstance(metric.module, PolicyMetric) else None


def rules_of(metric: LoadedMetric, prompt: Prompt) -> dict[str, Severity]:
    """The rules that a metric judges a prompt's answers by: id -> severity; empty where by none."""
    kind = names_rules(metric)
    if kind is None or not isinstance(metric.module, PolicyMetric):
        return {}
    rules = metric.module.policy.applicable(prompt.reference)
    return {rule.id: rule.severity for rule in rules if getattr(rule, kind)}


def harm_of(metric: LoadedMetric) -> dict[str, str] | None:
    """Severity -> what the case calls the harm; None for metrics that judge by no rules."""
    if names_rules(metric) is None or not isinstance(metric.module, PolicyMetric):
        return None
    return {severity: metric.module.policy.harm.get(severity, severity) for severity in SEVERITIES}


def count_severities(
    metric: LoadedMetric,
    results: Mapping[str, MetricResult],
    invalid: Mapping[str, Sequence[str | None]],
    prompts: Sequence[Prompt],
) -> dict[str, dict[str, Any]] | None:
    """For every severity and system, the answers that break a rule of it or of a worse one.

    Args:
        results: each system's items, whose details name the rules broken.
        invalid: each system's reasons why an answer is none. Such an answer counts where it breaks a rule
            all the same, and else not at all: what was never said is no evidence of good conduct.

    Returns:
        `{"critical": {"tuned": {"n", "groups", "found", "rules": {id: answers}}, "base": {…}}, …}`, where n
        is the answers to prompts that such a rule applies to; None for metrics that judge by no rules.
    """
    if names_rules(metric) is None:
        return None
    applicable = [rules_of(metric, prompt) for prompt in prompts]
    counted: dict[str, dict[str, Any]] = {}
    for place, severity in enumerate(SEVERITIES):
        counted[severity] = {
            system: _count(result, invalid[system], prompts, applicable, SEVERITIES[: place + 1])
            for system, result in results.items()
        }
    return counted


def _count(
    result: MetricResult,
    invalid: Sequence[str | None],
    prompts: Sequence[Prompt],
    applicable: Sequence[Mapping[str, Severity]],
    wanted: Sequence[Severity],
) -> dict[str, Any]:
    found, rules, groups, n = 0, Counter[str](), set(), 0
    for prompt, severities, details, reason in zip(prompts, applicable, result.details, invalid, strict=True):
        concerned = {rule for rule, severity in severities.items() if severity in wanted}
        broken = concerned.intersection(details)
        if not concerned or (reason is not None and not broken):
            continue
        n += 1
        groups.add(prompt.group)
        found += bool(broken)
        rules.update(broken)
    return {"n": n, "groups": len(groups), "found": found, "rules": dict(sorted(rules.items()))}
