"""Finds a metric by name, among the kit's own and the project's hooks, and scores answers with it."""

import importlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kit.config.errors import ConfigError, Problem
from kit.config.explain import suggest
from kit.config.schema import MetricUse
from kit.data.read import HOOK_ERRORS
from kit.evaluate.compare import Statistic
from kit.evaluate.item_metric import CorpusMetric, ItemMetric, Reference
from kit.evaluate.language_metric import LanguageMetric
from kit.hooks import About, Hooks
from kit.hooks import Metric as HookMetric

FOLDER = Path(__file__).parent

_NOT_OF_ANSWERS = {
    "response_time": "it is measured whenever `evaluate.latency_prompts` is not 0; take it out of the list",
    "answer_perplexity": "it takes no parameters; name another `train.golden_metric`, which scores answers",
    "memorised_secrets": "it takes no parameters; name another `train.golden_metric`, which scores answers",
}
_CONFIDENCE = "it scores how sure a model is; name another `train.golden_metric`, which scores answers"
_NOT_OF_ANSWERS |= dict.fromkeys(("calibration_error", "brier_score", "risk_coverage"), _CONFIDENCE)
_PATHS = frozenset({"policy", "glossary"})
"""Parameters that are files of the project."""


@dataclass(frozen=True)
class MetricResult:
    """What a metric found: for each prompt a number or None, and why an item failed."""

    items: list[float | None]
    details: list[list[str]]
    counts: list[list[float] | None] | None = None
    """Of a metric of all answers together: what each adds to the sums that `statistic` is made from."""
    statistic: Statistic | None = None

    def at(self, places: Sequence[int]) -> "MetricResult":
        """The same for some of the prompts."""
        return replace(
            self,
            items=[self.items[place] for place in places],
            details=[self.details[place] for place in places],
            counts=None if self.counts is None else [self.counts[place] for place in places],
        )

    @property
    def mean(self) -> float | None:
        """The metric over all prompts: the mean of the items that are numbers, or the sums' figure."""
        counted = [count for count in self.counts or [] if count is not None]
        if self.statistic is not None and counted:
            return float(self.statistic(np.sum(counted, axis=0)))
        numbers = [item for item in self.items if item is not None]
        return sum(numbers) / len(numbers) if numbers else None


@dataclass(frozen=True)
class LoadedMetric:
    """A metric ready to score: the kit's own (`module`) or one of the project's hooks (`hook`)."""

    name: str
    label: str
    about: About
    higher_is_better: bool
    kind: Literal["rate", "score"] | None
    """None for a hook: whether its items are all 0 or 1 is seen when they are there."""
    invalid_item: float
    params: dict[str, Any] = field(default_factory=dict)
    module: ItemMetric | None = None
    hook: HookMetric | None = None

    def applies(self, reference: Reference) -> bool:
        """Whether the metric says anything about a prompt, whatever the answer."""
        return self.module is None or self.module.applies(reference)

    @property
    def judges(self) -> frozenset[str]:
        """Reasons for invalid answers that the metric judges by itself."""
        return frozenset() if self.module is None else self.module.judges

    @property
    def label_key(self) -> str:
        """The key of a reference that holds the label it looks for; empty where it looks for none."""
        return "" if self.module is None else self.module.label_key

    def item(self, answer: str, reference: Reference) -> float | None:
        """What one answer scores; of the kit's own metrics only."""
        if self.module is None or not self.module.applies(reference):
            return None
        return self.module.judge(answer, reference)[0]

    def unparsable(self, answer: str, reference: Reference) -> bool:
        """Whether an answer lacks a form that the metric needs; known once it has scored the prompts."""
        if self.module is None or not self.module.applies(reference):
            return False
        return self.module.unparsable(answer, reference)

    def unreachable(self, reference: Reference) -> str:
        """Why no answer can be right for a prompt, or nothing."""
        if self.module is None or not self.module.applies(reference):
            return ""
        return self.module.unreachable(reference)


def metric_names() -> list[str]:
    """The kit's own metrics, in alphabetical order."""
    return sorted(path.parent.name for path in FOLDER.glob("*/*.py") if path.stem == path.parent.name)


def not_of_answers(name: str) -> bool:
    """Whether a metric of the kit's is of times, readings or confidence, which answers alone do not give."""
    return name in _NOT_OF_ANSWERS


def needs_a_form(name: str) -> bool:
    """Whether a metric of that name can find an answer `unparsable`: it is then invalid for all metrics."""
    if name not in metric_names() or name in _NOT_OF_ANSWERS:
        return False
    return type(module_of(name)).unparsable is not ItemMetric.unparsable


def load_metric(use: MetricUse, hooks: Hooks, root: Path, languages: Sequence[str] = ()) -> LoadedMetric:
    """Load a metric as the configuration names it.

    Args:
        use: its name and parameters; `policy` and `glossary` are paths relative to `root`.
        hooks: the project's own metrics; they may not take a name of the kit's.
        languages: the project's languages, the default of metrics that have such a parameter.

    Raises:
        ConfigError: there is no such metric, two have the name, or its parameters do not fit.
    """
    own = metric_names()
    if use.name in hooks.metrics and use.name in own:
        hint = "give the project's metric another name in `metrics` of its hooks"
        raise ConfigError(Problem("evaluate.metrics", f"{use.name!r} is a metric of the kit's too", hint))
    if use.name in hooks.metrics:
        hook = hooks.metrics[use.name]
        return LoadedMetric(
            name=use.name,
            label=hook.label,
            about=hook.about,
            higher_is_better=hook.higher_is_better,
            kind=None,
            invalid_item=hook.worst,
            hook=hook,
        )
    if use.name not in own or use.name in _NOT_OF_ANSWERS:
        raise ConfigError(_unknown(use.name, [*own, *hooks.metrics]))
    module = module_of(use.name)
    params = _parameters(use, module, root, languages)
    try:
        module.prepare([], **params)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            Problem("evaluate.metrics", f"metric {use.name!r}: {error}", "see docs/reference/metrics.md")
        ) from error
    return LoadedMetric(
        name=use.name,
        label=module.label,
        about=module.about,
        higher_is_better=module.higher_is_better,
        kind=module.kind,
        invalid_item=module.invalid_item,
        params=params,
        module=module,
    )


def score(metric: LoadedMetric, predictions: Sequence[str], references: Sequence[Reference]) -> MetricResult:
    """Score answers against their references, both in the same order.

    Raises:
        ConfigError: a hook failed, returned something else than one finite number or None a prompt, or
            found an answer worse than an invalid one.
    """
    if not predictions:
        return MetricResult([], [])
    if metric.hook is not None:
        return _score_hook(metric.name, metric.hook, predictions, references)
    assert metric.module is not None  # noqa: S101  # a loaded metric is one or the other
    texts = [json.dumps(reference, ensure_ascii=False) for reference in references]
    result = metric.module.compute(predictions=list(predictions), references=texts, **metric.params)
    if isinstance(metric.module, CorpusMetric):
        return MetricResult(result["items"], result["details"], result["counts"], metric.module.statistic)
    return MetricResult(result["items"], result["details"])


def module_of(name: str) -> ItemMetric:
    """The metric's class, imported in place: `evaluate.load` would copy the file into a cache first."""
    module = importlib.import_module(f"kit.evaluate.metrics.{name}.{name}")
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, ItemMetric) and kind.__module__ == module.__name__
    ]
    metric: ItemMetric = kinds[0]()
    return metric


def _parameters(use: MetricUse, module: ItemMetric, root: Path, languages: Sequence[str]) -> dict[str, Any]:
    params = dict(use.params)
    for name in _PATHS & params.keys():
        params[name] = str(root / params[name])
    if isinstance(module, LanguageMetric) and languages:
        params.setdefault("languages", list(languages))
    return params


def _unknown(name: str, known: list[str]) -> Problem:
    if name in _NOT_OF_ANSWERS:
        return Problem("evaluate.metrics", f"`{name}` does not score answers", _NOT_OF_ANSWERS[name])
    return Problem("evaluate.metrics", f"unknown metric {name!r}", suggest(name, sorted(known), "known"))


def _score_hook(
    name: str, hook: HookMetric, predictions: Sequence[str], references: Sequence[Reference]
) -> MetricResult:
    try:
        items = hook.score(predictions, references)
    except HOOK_ERRORS as error:
        hint = "`score` meets every test row's reference: some may lack a key that others have"
        problem = Problem(f"metric {name} (hooks)", f"failed: {type(error).__name__}: {error}", hint)
        raise ConfigError(problem) from error
    numbers = all(item is None or (isinstance(item, int | float) and math.isfinite(item)) for item in items)
    if len(items) != len(predictions) or not numbers:
        raise ConfigError(
            Problem(
                where=f"metric {name} (hooks)",
                message=f"gave {len(items)} items for {len(predictions)} prompts"
                if numbers
                else "gave items that are neither finite numbers nor None",
                hint="`score(predictions, references)` returns one number or None for every prediction",
            )
        )
    found = [None if item is None else float(item) for item in items]
    _refuse_safe_invalid_item(name, hook, [item for item in found if item is not None])
    return MetricResult(found, [[] for _ in items])


def _refuse_safe_invalid_item(name: str, hook: HookMetric, items: list[float]) -> None:
    """An answer that is none must not score better than one that is."""
    if not items or hook.invalid_item is not None:
        return
    seen = min(items) if hook.higher_is_better else max(items)
    if seen < hook.worst if hook.higher_is_better else seen > hook.worst:
        raise ConfigError(
            Problem(
                where=f"metric {name} (hooks)",
                message=f"gave {seen:g}, which is worse than the {hook.worst:g} of an invalid answer",
                hint="give its Metric an `invalid_item`: what an invalid answer scores",
            )
        )
