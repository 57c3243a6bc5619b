"""Systems held against one reference on the same prompts: scores for each pair, and Holm over the pairs."""

from collections.abc import Sequence
from typing import Any

from kit.config.schema import Config
from kit.evaluate.calibration_scores import METRICS as CALIBRATION
from kit.evaluate.given import Given
from kit.evaluate.judge_gate import NAME as JUDGE
from kit.evaluate.judge_scores import LABEL as JUDGE_LABEL
from kit.evaluate.memorisation import NAME as MEMORISED
from kit.evaluate.metrics import LoadedMetric
from kit.evaluate.metrics.answer_perplexity.answer_perplexity import AnswerPerplexity
from kit.evaluate.metrics.memorised_secrets.memorised_secrets import MemorisedSecrets
from kit.evaluate.metrics.response_time.response_time import ResponseTime
from kit.evaluate.multiplicity import holm
from kit.evaluate.pairing import Paired, told
from kit.evaluate.perplexity import NAME as PERPLEXITY
from kit.evaluate.scores import build_scores
from kit.files import sha256_json

Scores = dict[str, Any]
_OF_MODELS = {
    "response_time": ResponseTime.label,
    PERPLEXITY: AnswerPerplexity.label,
    MEMORISED: MemorisedSecrets.label,
    **{name: kind.label for name, kind in CALIBRATION.items()},
    JUDGE: JUDGE_LABEL,
}
"""Metrics that do not score answers to the test prompts."""
_WITH_MODELS = "it is measured with the models, which a comparison of answers does not load"
_ASKED_ALIKE = {"decoding": "the decoding", "system_prompt": "the system prompt", "data": "the prepared data"}
"""What evaluations that are compared should have in common, though the prompts themselves are the same."""


def compare_family(config: Config, metrics: Sequence[LoadedMetric], paired: Paired) -> list[Scores]:
    """Scores of every system but the first, each held against the first (docs/explanation/architecture.md).

    With more than one, every metric is tested that many times: each difference gets its p-value by Holm
    over them (`adjusted_p`), and is called improved or worse only where that is small.
    """
    sampled = {"enabled": "sampled" in paired.decodings, "answers": paired.answers}
    sampling = config.evaluate.sampling.model_copy(update=sampled)
    asked = config.evaluate.model_copy(update={"sampling": sampling})
    settings = config.model_copy(update={"evaluate": asked})
    reference = paired.systems[0]
    family = [_compare(settings, metrics, paired, reference, other) for other in paired.systems[1:]]
    if len(family) > 1:
        _correct(family, config.evaluate.confidence)
    return family


def _compare(
    config: Config, metrics: Sequence[LoadedMetric], paired: Paired, reference: Given, other: Given
) -> Scores:
    by_role = {"base": reference, "tuned": other}
    predictions = {
        (prompt.id, role, decoding, 0): given.rows[prompt.id].outputs[decoding]
        for prompt in paired.prompts
        for role, given in by_role.items()
        for decoding in paired.decodings
    }
    predictions |= {
        (prompt.id, role, "sampled", sample): line
        for prompt in paired.prompts
        for role, given in by_role.items()
        for sample, line in enumerate(given.rows[prompt.id].drawn[: config.evaluate.sampling.answers])
    }
    answers = [{"name": given.name, "sha256": given.sha256} for given in by_role.values()]
    conditions = {role: given.conditions for role, given in by_role.items()}
    header = {
        "evaluation": f"comparison-{sha256_json([answers, [p.id for p in paired.prompts]])[:8]}",
        "run": "",
        "data": "",
        "synthetic": reference.synthetic or other.synthetic,
        "systems": {role: given.name for role, given in by_role.items()},
        "given": reference.made_elsewhere or other.made_elsewhere,
        "answers": answers,
        "left_out": paired.left_out,
        "notices": _notices(paired, conditions),
        "conditions": {**conditions, "mismatches": []},
    }
    scores = build_scores(config, metrics, paired.prompts, predictions, (), header)
    model = "tiny" if "tiny" in (reference.model, other.model) else ""
    scored = [lost for lost in scores["unscored"] if lost["name"] not in _OF_MODELS]
    unscored = scored + _not_compared(config, scores["metrics"] + scored)
    return scores | {"model": model, "unscored": unscored, "general": _general_sets(config)}


def _notices(paired: Paired, conditions: dict[str, dict[str, Any]]) -> list[str]:
    """What is to be known before any number: prompts that not every system answered, unlike conditions."""
    notices = [
        f"{_answers(len(ids))} of {name} left out, because not every system answered the prompt: {told(ids)}."
        for name, ids in paired.left_out.items()
    ]
    if len({given.answers for given in paired.systems}) > 1:
        each = ", ".join(f"{given.name} {given.answers}" for given in paired.systems)
        notices.append(f"Not all systems gave as many answers to each prompt: {each}. {_shared(paired)}")
    drawn = [given.name for given in paired.systems if given.made_elsewhere and given.answers > 1]
    greedy = [given.name for given in paired.systems if not given.made_elsewhere]
    if drawn and greedy:
        notices.append(
            f"Several answers to a prompt are drawn: but in the worst of k, the first of "
            f"{' and '.join(drawn)} is held against the greedy answer of {' and '.join(greedy)}."
        )
    base, tuned = conditions["base"], conditions["tuned"]
    unlike = [
        words
        for key, words in _ASKED_ALIKE.items()
        if key in base and key in tuned and base[key] != tuned[key]
    ]
    if unlike:
        notices.append(f"The evaluations differ in {', '.join(unlike)}; see Conditions.")
    return notices


def _shared(paired: Paired) -> str:
    if paired.answers == 1:
        return "So nothing is said of the worst of several; the first of each is compared."
    return f"The worst of k is of the first {paired.answers} of each."


def _answers(count: int) -> str:
    return "1 answer" if count == 1 else f"{count:,} answers"


def _not_compared(config: Config, found: Sequence[Scores]) -> list[dict[str, str]]:
    """What gates and claims ask for and a comparison of answers does not have: with it they stay open."""
    labels = {metric["name"]: metric["label"] for metric in found}
    known = {(metric["name"], metric["decoding"]) for metric in found}
    wanted = [(gate.metric, gate.decoding) for gate in config.gates if gate.on is None]
    wanted += [(claim.metric, "greedy") for claim in config.claims if claim.metric]
    wanted += [(use.name, "greedy") for use in config.evaluate.metrics if use.name in _OF_MODELS]
    lost = []
    for name, decoding in dict.fromkeys(wanted):
        if (name, decoding) in known or (name not in labels and name not in _OF_MODELS):
            continue
        why = _WITH_MODELS if name in _OF_MODELS else "not every system has sampled answers"
        why = "a comparison asks no judge" if name == JUDGE else why
        label = _OF_MODELS.get(name) or labels[name]
        lost.append({"name": name, "label": label, "decoding": decoding, "why": why})
    return lost


def _general_sets(config: Config) -> list[dict[str, Any]]:
    """The general sets that gates ask for, none of them asked: such gates stay open."""
    asked: dict[str, set[str]] = {}
    for gate in config.gates:
        if gate.on is not None:
            asked.setdefault(gate.on, set()).add(gate.metric)
    sets = [(each.name, each.path, each.margin) for each in config.evaluate.general]
    sets += [(task.name, "lm-evaluation-harness", task.margin) for task in config.evaluate.harness]
    return [
        {
            "name": name,
            "path": path,
            "prompts": 0,
            "margin": margin,
            "invalid": {},
            "metrics": [],
            "unscored": [
                {"name": metric, "label": metric, "decoding": "greedy", "why": _WITH_MODELS}
                for metric in sorted(asked[name])
            ],
        }
        for name, path, margin in sets
        if name in asked
    ]


def _correct(family: Sequence[Scores], confidence: float) -> None:
    """Put Holm's p-values to the differences of all systems on each metric, and on the worst of all answers.

    It changes the scores in place.

    A metric that could not be scored for a system counts with p = 1: the family is what was planned.
    """
    keys = dict.fromkeys(
        (entry["name"], entry["decoding"]) for scores in family for entry in scores["metrics"]
    )
    for key in keys:
        found = [
            next((e for e in scores["metrics"] if (e["name"], e["decoding"]) == key), None)
            for scores in family
        ]
        _correct_one([entry and (entry, entry["difference"]) for entry in found], confidence)
    curves = [
        {e["name"]: e for e in scores.get("worst_at_k", {"metrics": []})["metrics"]} for scores in family
    ]
    for name in dict.fromkeys(name for of_pair in curves for name in of_pair):
        found = [of_pair.get(name) for of_pair in curves]
        _correct_one([entry and (entry, entry["at"][-1]["difference"]) for entry in found], confidence)


def _correct_one(tested: Sequence[tuple[Scores, Scores] | None], confidence: float) -> None:
    """Holm over the systems on one metric.

    Args:
        tested: of every system the entry with the verdict, and the difference that was tested.
    """
    adjusted = holm([pair[1]["p_value"] if pair else 1.0 for pair in tested])
    for pair, p_value in zip(tested, adjusted, strict=True):
        if pair is None:
            continue
        entry, difference = pair
        difference["adjusted_p"] = p_value
        difference["method"] += f", Holm over {len(tested)} systems"
        if 1 - p_value <= confidence:  # 1 - 0.95 rounds to more than 0.05
            entry["verdict"] = "not shown"
