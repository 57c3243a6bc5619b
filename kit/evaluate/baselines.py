"""Trivial baselines: what anybody scores who says the commonest thing, refuses everything, or copies.

They are scored by the same metrics on the same prompts. A tuned model that is no better than one of them
has shown nothing on that metric, and a metric on which one of them wins says little by itself: who refuses
everything breaks no rule, and helps nobody.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kit.config.errors import ConfigError
from kit.config.schema import Config
from kit.data.language import language_code
from kit.data.prepared import load_rows
from kit.evaluate.alike import MostAlike
from kit.evaluate.compare import NOTHING, Settings, compare
from kit.evaluate.label_metric import LabelMetric
from kit.evaluate.metrics import LoadedMetric, MetricResult
from kit.evaluate.policy import Policy
from kit.evaluate.policy_metric import PolicyMetric
from kit.evaluate.prompts import Prompt
from kit.evaluate.training import Training, language_of
from kit.evaluate.validity import guess_language

MAJORITY, REFUSE, NEAREST = "majority label", "always refuse", "nearest training answer"
NAMES = (MAJORITY, REFUSE, NEAREST)

REFUSALS = {
    "en": "I'm sorry, but I can't help with that.",
    "fr": "Désolé, je ne peux pas vous aider.",
    "es": "Lo siento, pero no puedo ayudarle.",
    "zh": "抱歉，我无法回答这个问题。",
}
"""The kit's own, for languages in which the policy's examples refuse nothing."""

Found = MetricResult | str
"""A baseline's items, or why it has none."""


@dataclass(frozen=True)
class Trivial:
    """What the baselines answer to the prompts."""

    prompts: Sequence[Prompt]
    training: Training | None
    alike: Sequence[MostAlike]
    refusals: Sequence[str]
    """One a prompt."""

    def answers(self, name: str, metric: LoadedMetric) -> list[str] | str:
        """A baseline's answers to all prompts, or why it has none."""
        if name == REFUSE:
            return list(self.refusals)
        if self.training is None:
            return "no training rows are known"
        if name == MAJORITY:
            return majority_answers(metric, self.prompts, self.training)
        copied = [like.nearest.answer if like.nearest else None for like in self.alike]
        answers = [answer for answer in copied if answer is not None]
        return answers if len(answers) == len(copied) else "no training row asks anything"


def trivial(
    config: Config,
    metrics: Sequence[LoadedMetric],
    prompts: Sequence[Prompt],
    training: Training | None,
    alike: Sequence[MostAlike],
) -> Trivial:
    """The baselines, ready to answer. The refusals are those of the first policy that a metric judges by."""
    policies = [metric.module.policy for metric in metrics if isinstance(metric.module, PolicyMetric)]
    languages = config.languages or ["en"]
    phrases = refusal_phrases(policies[0] if policies else None, languages)
    asked = [_language(prompt, languages) for prompt in prompts]
    fallback = phrases.get(language_code(languages[0]), REFUSALS["en"])
    return Trivial(prompts, training, alike, [phrases.get(language, fallback) for language in asked])


def refusal_phrases(policy: Policy | None, languages: Sequence[str]) -> dict[str, str]:
    """Language -> the first of the policy's examples that refuses in it, else the kit's own phrase."""
    found: dict[str, str] = {}
    for example in policy.examples.refuses if policy else ():
        found.setdefault(guess_language(example, languages), example)
    return {**REFUSALS, **found}


def _language(prompt: Prompt, languages: Sequence[str]) -> str:
    """The language a prompt names, else the one it is written in."""
    return language_of(prompt.reference) or guess_language(prompt.reference["prompt"], languages)


def majority_answers(metric: LoadedMetric, prompts: Sequence[Prompt], training: Training) -> list[str] | str:
    """The commonest answer of training, or the one that gives the commonest label that the metric reads.

    Of rows in the prompt's language where the rows name one and there are such. Of equally common ones the
    first in the training split.
    """
    if not training.answers:
        return "no training row answers anything"
    answer_in: dict[str, str] = {}
    for language in {language_of(prompt.reference) for prompt in prompts}:
        seen = language if language in training.answers else ""
        answer_in[language] = _majority_answer(metric, training, seen)
    return [answer_in[language_of(prompt.reference)] for prompt in prompts]


def _majority_answer(metric: LoadedMetric, training: Training, language: str) -> str:
    labels = training.labels.get((metric.label_key, language)) if metric.label_key else None
    if not labels:
        (commonest, _), *_ = training.answers[language].most_common(1)
        rows = load_rows(training.folder, "train", training.givers[language, commonest][:1])
        return rows[0].answer
    (label, _), *_ = labels.most_common(1)
    rows = load_rows(training.folder, "train", training.givers[metric.label_key, language, label])
    if isinstance(metric.module, LabelMetric):
        return str(rows[0].expected[metric.label_key])
    best = 1.0 if metric.higher_is_better else 0.0
    right = (row.answer for row in rows if metric.item(row.answer, row.expected) == best)
    return next(right, rows[0].answer)


def score_baselines(
    metric: LoadedMetric, trivial: Trivial, judge: Callable[[LoadedMetric, list[str]], MetricResult]
) -> dict[str, Found]:
    """Every baseline's items of a metric.

    Args:
        judge: scores answers to all prompts as it does those of base and tuned.
    """
    found: dict[str, Found] = {}
    for name in NAMES:
        answers = trivial.answers(name, metric)
        try:
            found[name] = answers if isinstance(answers, str) else judge(metric, answers)
        except ConfigError as error:  # a hook that meets an answer it did not foresee
            found[name] = f"it could not be scored: {error.problems[0].message}"
    return found


def baseline_entries(
    entry: Mapping[str, Any],
    found: Mapping[str, Found],
    tuned: MetricResult,
    groups: Sequence[str],
    settings: Settings,
) -> dict[str, dict[str, Any]]:
    """The `baselines` of a `metrics` entry: each one's figure, and how tuned compares with it.

    Args:
        entry: the metric's own, with its kind and direction.
    """
    made: dict[str, dict[str, Any]] = {}
    for name, result in found.items():
        if isinstance(result, str):
            made[name] = left_out(result)
            continue
        binary = {item for item in result.items if item is not None} <= {0.0, 1.0}
        told = [one.items if one.counts is None else one.counts for one in (result, tuned)]
        compared = compare(
            told[0],
            told[1],
            groups,
            kind=entry["kind"] if binary else "score",
            higher_is_better=entry["higher_is_better"],
            settings=settings,
            statistic=tuned.statistic,
        )
        if compared is None:
            made[name] = left_out("no prompt could be scored for it and for tuned")
            continue
        made[name] = {
            **asdict(compared.base),
            "n": compared.n,
            "difference": {**asdict(compared.difference), "p_value": compared.p_value},
            "verdict": compared.verdict,
            "why": "",
        }
    return made


def left_out(why: str) -> dict[str, Any]:
    """A baseline without a figure, with the reason."""
    gap = {**NOTHING, "p_value": None}
    return {**NOTHING, "n": 0, "difference": gap, "verdict": "not shown", "why": why}


def none_apply(why: str) -> dict[str, dict[str, Any]]:
    """All baselines left out, for a metric that is not of answers."""
    return {name: left_out(why) for name in NAMES}
