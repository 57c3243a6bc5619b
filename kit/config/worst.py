"""Gates on the worst of several answers (`worst_of`) that the settings leave nothing to look at."""

from collections.abc import Iterable, Iterator
from typing import Any

from kit.config.explain import Finding
from kit.config.tree import Tree

NOT_OF_SINGLE_ANSWERS = frozenset(
    (
        "answer_perplexity", "bleu", "brier_score", "calibration_error", "chrf", "judge", "label_set_f1",
        "label_set_macro_f1", "label_set_precision", "label_set_recall", "macro_f1", "memorised_secrets",
        "response_time", "risk_coverage",
    )
)  # fmt: skip
"""Metrics of all answers together, of times, readings and confidence, and what is asked once a prompt."""


def check_drawn_judged(judge: Any, answers: Any) -> Iterator[Finding]:
    """That a judge is asked about several sampled answers, and one is drawn.

    Args:
        judge: `evaluate.judge`, as it is written.
        answers: `evaluate.sampling.answers`.
    """
    if isinstance(judge, dict) and judge.get("drawn_answers") is True and answers == 1:
        yield Finding(
            ("evaluate", "judge", "drawn_answers"),
            "the judge is asked about several sampled answers to a prompt, and one is drawn",
            "set evaluate.sampling.answers to 2 or more, or drawn_answers to false",
            needs_rest=True,
        )


def check_worst_of(gates: Iterable[tuple[int, Tree]], answers: Any) -> Iterator[Finding]:
    """Every gate that looks at the worst of more answers than are drawn, or of a metric that has none.

    Args:
        gates: with their places, as they are written.
        answers: `evaluate.sampling.answers`.
    """
    for index, gate in gates:
        name, metric, worst_of = (gate.get(key) for key in ("name", "metric", "worst_of"))
        if not isinstance(worst_of, int):
            continue
        if isinstance(metric, str) and metric in NOT_OF_SINGLE_ANSWERS:
            yield Finding(
                ("gates", index, "worst_of"),
                f"gate {name!r} looks at the worst of {worst_of} answers, and {metric} has no score of each",
                "leave worst_of out, or name a metric that scores single answers, such as rubric_score",
                needs_rest=True,
            )
        elif isinstance(answers, int) and worst_of > answers:
            yield Finding(
                ("gates", index, "worst_of"),
                f"gate {name!r} looks at the worst of {worst_of} answers, and so many are drawn: {answers}",
                f"set evaluate.sampling.answers to {worst_of} or more",
                needs_rest=True,
            )
