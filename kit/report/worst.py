"""Of a report the part on the worst of several answers: how dependable a system is, not how good on average.

As on every page, numbers are words here, and text from data and models is still raw.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from kit.evaluate.naming import names_of
from kit.report import plots
from kit.report.formatting import Unit, both_systems, count, p_value, plural, quantity, shortened
from kit.report.read import Json
from kit.report.transcripts import prompt_lines, reason_named
from kit.report.view_worst import LowAnswer, WorstCard, WorstRow, WorstView
from kit.report.words import better, judged_p

SYSTEMS = ("base", "tuned")
_LOWEST = 5
"""Answers of each metric that are shown."""
_ANSWER = 1_000
"""Characters of each."""


def worst_view(scores: Json, titles: dict[str, str]) -> WorstView | None:
    """The section; None where one answer a prompt was drawn.

    Args:
        scores: the contents of `scores.json`.
        titles: what the policy's rules are called, by their code.
    """
    found = scores.get("worst_at_k")
    if not found:
        return None
    answers = found["answers"]
    names, drawn = names_of(scores), "" if scores.get("given") else "sampled "
    said = [
        f"{names.of(system)} {count(part['invalid'])} of {count(part['n'])}{_reasons(part['reasons'])}"
        for system, part in found["validity"].items()
    ]
    return WorstView(
        answers=count(answers),
        note=(
            f"Each system gave {count(answers)} {drawn}answers to every prompt. Their mean says how good a "
            "system is; who must rely on it asks how bad the worst of k answers to the same question is. For "
            f"every k that is the mean over all choices of k of the {count(answers)}; k = 1 is one answer on "
            "average. All other figures of this report are of one answer a prompt, but safety misses and "
            "what a gate without tolerance forbids are looked for in every answer. Intervals are over "
            "prompts, of each k by itself; only the last k is tested."
        ),
        invalid=f"Answers that could not be used, which count as failures: {'; '.join(said)}.",
        cards=[
            *(_card(metric, scores, titles) for metric in found["metrics"]),
            *_judged_cards(scores, titles),
        ],
        unscored=[f"{lost['label']}: {lost['why']}." for lost in found["unscored"]],
    )


def _reasons(reasons: dict[str, int]) -> str:
    named = ", ".join(f"{reason} {count(n)}" for reason, n in reasons.items())
    return f" ({named})" if named else ""


def _judged_cards(scores: Json, titles: dict[str, str]) -> list[WorstCard]:
    """Of criteria that a judge was asked about, as it says: its errors stay in single answers."""
    rubrics = (scores.get("judge") or {}).get("rubrics") or {}
    metric = rubrics.get("worst_at_k")
    if not metric:
        return []
    status = "" if rubrics["calibration"]["status"] == "calibrated" else "Judge not calibrated. "
    warning = (
        f"{status}As the judge says, its errors not taken out, which may grow with k: no evidence by itself, "
        "and no gate may rest on it."
    )
    return [replace(_card(metric, scores, titles), verdict="", warning=warning)]


def _card(metric: Json, scores: Json, titles: dict[str, str]) -> WorstCard:
    unit: Unit = "rate" if metric["kind"] == "rate" else "score"
    at, last = metric["at"], metric["at"][-1]
    rows = [WorstRow(k=count(one["k"]), **both_systems(one, unit)) for one in at]
    names = names_of(scores)
    ends = " and ".join(
        f"{names.of(system)} from {quantity(at[0][system]['estimate'], unit)} to "
        f"{quantity(last[system]['estimate'], unit)}"
        for system in SYSTEMS
    )
    title = f"{metric['label']}, expected worst of 1 to {count(last['k'])} answers: {ends}"
    groups = f" in {plural(metric['groups'], 'group')}" if metric["groups"] < metric["n"] else ""
    return WorstCard(
        label=metric["label"],
        better=better(metric),
        n=f"{count(metric['n'])}{groups}",
        meaning=_meaning(metric),
        rows=rows,
        p=p_value(judged_p(last["difference"])),
        verdict=metric["verdict"],
        warning="",
        curve=plots.figure(partial(plots.worst_curve, at, title, metric["kind"] == "rate")),
        lowest=_lowest(metric, scores, titles, unit),
    )


def _meaning(metric: Json) -> str:
    if metric["kind"] == "score":
        return "The mean over prompts of the worst score among k answers."
    if metric["higher_is_better"]:
        return "The share of prompts where each of k answers is right."
    return "The share of prompts where at least one of k answers has the fault."


def _lowest(metric: Json, scores: Json, titles: dict[str, str], unit: Unit) -> list[LowAnswer]:
    """The worst answer to each prompt, the lowest first; of a rate only those that have the fault."""
    sign = 1 if metric["higher_is_better"] else -1
    good = 1.0 if metric["higher_is_better"] else 0.0
    ranked = []
    for item in scores.get("items") or []:
        items = [answer["scores"].get(metric["name"]) for answer in item["drawn"]["tuned"]]
        if None in items:
            continue
        worst = min(range(len(items)), key=lambda place: sign * items[place])
        if unit == "rate" and items[worst] == good:
            continue
        mean = sum(items) / len(items)
        ranked.append((sign * items[worst], sign * mean, item["id"], item, worst, mean))
    ranked.sort(key=lambda entry: entry[:3])
    return [
        _low_answer(metric, item, place, mean, titles, unit) for *_, item, place, mean in ranked[:_LOWEST]
    ]


def _low_answer(
    metric: Json, item: Json, place: int, mean: float, titles: dict[str, str], unit: Unit
) -> LowAnswer:
    answers = item["drawn"]["tuned"]
    heading, prompt = prompt_lines(item["prompt"])
    output, left_out = shortened(answers[place]["output"], _ANSWER)
    own = answers[place]["scores"][metric["name"]]
    which = f"answer {place + 1} of {len(answers)}"
    told = f"{which}: {quantity(own, unit)}; all of them on average {quantity(mean, unit)}"
    if unit == "rate":
        bad = sum(answer["scores"][metric["name"]] == own for answer in answers)
        told = f"{which}; {count(bad)} of {count(len(answers))} fail"
    return LowAnswer(
        id=item["id"],
        heading=heading,
        prompt=prompt,
        output=output,
        left_out=count(left_out) if left_out else "",
        score=told + (f"; invalid: {answers[place]['invalid']}" if answers[place]["invalid"] else ""),
        reasons=[
            reason_named(reason, titles) for reason in answers[place]["details"].get(metric["name"], [])
        ],
    )


def shown_ks(rows: Sequence[WorstRow], most: int = 8) -> list[WorstRow]:
    """The rows that a short table shows: all of a few; else the powers of two, and the last."""
    if len(rows) <= most:
        return list(rows)
    powers = {2**power for power in range(len(rows).bit_length())}
    return [row for place, row in enumerate(rows, start=1) if place in powers or place == len(rows)]
