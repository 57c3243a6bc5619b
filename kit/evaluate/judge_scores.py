"""The `judge` block of `scores.json`: verdicts, preferences, and how far either can be trusted.

A verdict that is no `good` one is a fault. Rule metrics stand beside it and are not touched by it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kit.evaluate.agreement import Observed, corrected, why_it_tells_nothing
from kit.evaluate.compare import Settings, compare, explore
from kit.evaluate.entry import compared_entry, metric_entry
from kit.evaluate.judge import Judged
from kit.evaluate.judge_calibration import calibration_of, finds_fault, label_counts
from kit.evaluate.judge_criteria_scores import criteria_items, criteria_scores
from kit.evaluate.judge_gate import NAME
from kit.evaluate.prompts import Prompt
from kit.evaluate.rubric import FIRST, SECOND, UNPARSABLE
from kit.evaluate.timing import SYSTEMS

LABEL = "Faults found by the judge"


def add_judge(scores: dict[str, Any], judged: Judged, prompts: Sequence[Prompt], settings: Settings) -> None:
    """Put the block `judge`, and what was said of every prompt, into scores that are made.

    The scores without leaked prompts get a block too; the labels, which say how far the judge errs, are the
    same for both.
    """
    scores["judge"] = judge_scores(judged, prompts, settings)
    if scores["without_leaks"]:
        leaked = {leak["id"] for leak in scores["leaks"]}
        kept = [place for place, prompt in enumerate(prompts) if prompt.id not in leaked]
        left = [prompts[place] for place in kept]
        scores["without_leaks"]["judge"] = judge_scores(_on(judged, kept), left, settings)
    for item, said in zip(scores["items"], verdict_items(judged), strict=True):
        item["judge"] = said


def _on(judged: Judged, places: Sequence[int]) -> Judged:
    """What was said of the prompts at some places."""
    repeated = {}
    for system, verdicts in judged.verdicts.items():
        asked = [place for place, verdict in enumerate(verdicts) if verdict is not None]
        again = dict(zip(asked, judged.repeated.get(system) or [], strict=False))
        repeated[system] = [again[place] for place in places if place in again]
    return replace(
        judged,
        verdicts={s: [verdicts[place] for place in places] for s, verdicts in judged.verdicts.items()},
        pairs=[judged.pairs[place] for place in places] if judged.pairs else [],
        repeated=repeated,
        criteria=judged.criteria.on(places) if judged.criteria else None,
    )


def judge_scores(judged: Judged, prompts: Sequence[Prompt], settings: Settings) -> dict[str, Any]:
    """Everything of `scores.json`'s `judge` (docs/explanation/architecture.md)."""
    ready, rubric = judged.ready, judged.ready.rubric
    groups = [prompt.group for prompt in prompts]
    named = ready.settings.labels is not None
    calibration = calibration_of(rubric, judged.labelled, judged.labels_left_out, named, settings)
    return {
        "model": ready.settings.model,
        "revision": ready.settings.revision,
        "where": ready.settings.base_url or "this machine",
        "rubric": {**rubric.model_dump(mode="json", exclude={"file"}), "verdicts": rubric.verdicts},
        "decoding": "greedy",
        "verdicts": {system: _counted(judged, system) for system in SYSTEMS},
        "metric": _metric(judged, prompts, settings),
        "grades": _grades(judged, groups, settings) if rubric.scale else None,
        "pairwise": _pairwise(judged, groups, settings) if judged.pairs else None,
        "calibration": calibration,
        "corrected": _corrected(judged, groups, calibration, settings),
        **(
            {"rubrics": criteria_scores(judged.criteria, prompts, named, settings)} if judged.criteria else {}
        ),
    }


def verdict_items(judged: Judged) -> list[dict[str, Any]]:
    """For every prompt what the judge said of either answer, and of both."""
    items = []
    of_criteria = criteria_items(judged.criteria) if judged.criteria else []
    for place in range(len(judged.verdicts["base"])):
        said: dict[str, Any] = {system: judged.verdicts[system][place] for system in SYSTEMS}
        if judged.pairs:
            said["pairwise"] = judged.pairs[place].winner
        if of_criteria and of_criteria[place]:
            said["criteria"] = of_criteria[place]
        items.append(said)
    return items


def _counted(judged: Judged, system: str) -> dict[str, Any]:
    """How often each verdict was given; invalid answers are not judged."""
    found = Counter(judged.verdicts[system])
    names = [*judged.ready.rubric.verdicts, UNPARSABLE]
    repeated = judged.repeated.get(system, [])
    return {
        "n": len(judged.verdicts[system]),
        "invalid": found[None],
        "counts": {name: found[name] for name in names},
        "repeated": len(repeated),
        "changed": sum(len(set(verdicts)) > 1 for verdicts in repeated),
    }


def _faults(judged: Judged, system: str) -> list[float | None]:
    """1 for a fault, 0 for none. An invalid answer is a fault; a reply that cannot be read says nothing."""
    rubric = judged.ready.rubric
    return [
        1.0 if verdict is None else None if verdict == UNPARSABLE else float(rubric.is_fault(verdict))
        for verdict in judged.verdicts[system]
    ]


def _metric(judged: Judged, prompts: Sequence[Prompt], settings: Settings) -> dict[str, Any] | None:
    """The verdicts as they are, compared like any rate; None where no prompt has one for both systems."""
    groups, slices = [prompt.group for prompt in prompts], [prompt.slices for prompt in prompts]
    entry = compared_entry(
        [_faults(judged, system) for system in SYSTEMS],
        groups,
        slices,
        settings,
        name=NAME,
        label=LABEL,
        about="safety",
        kind="rate",
        higher_is_better=False,
    )
    if entry is None:
        return None
    explore([entry], settings.confidence)
    return entry


def _grades(judged: Judged, groups: Sequence[str], settings: Settings) -> dict[str, Any] | None:
    """The mean grades; an invalid answer has the lowest."""
    lowest = float(judged.ready.rubric.scale[0])
    base, tuned = (
        [
            lowest if verdict is None else None if verdict == UNPARSABLE else float(verdict)
            for verdict in judged.verdicts[system]
        ]
        for system in SYSTEMS
    )
    compared = compare(base, tuned, groups, kind="score", higher_is_better=True, settings=settings)
    return None if compared is None else compared.as_json()


def _pairwise(judged: Judged, groups: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Who was preferred. A preference that changes with the order is a tie, and counted apart."""
    pairs = judged.pairs
    winners = Counter(pair.winner for pair in pairs)
    said = Counter(word for pair in pairs for word in pair.orders)

    def won(system: str) -> list[float | None]:
        return [None if p.winner == "unparsable" else float(p.winner == system) for p in pairs]

    compared = compare(
        won("base"), won("tuned"), groups, kind="rate", higher_is_better=True, settings=settings
    )
    return {
        "n": len(pairs),
        "asked": sum(pair.asked for pair in pairs),
        "tuned": winners["tuned"],
        "base": winners["base"],
        "tie": winners["tie"],
        "changed_with_order": winners["changed with the order"],
        "unparsable": winners["unparsable"],
        "first_preferred": said[FIRST],
        "second_preferred": said[SECOND],
        "compared": None if compared is None else compared.as_json(),
    }


def _corrected(
    judged: Judged, groups: Sequence[str], calibration: Mapping[str, Any], settings: Settings
) -> dict[str, Any]:
    """The share of faults with the judge's errors taken out, over the answers that were judged.

    `entry` has the form of a metric's, for gates and claims; None where `why` says why there is none.
    """
    if calibration["why"]:
        return {"why": calibration["why"], "entry": None}
    labelled = {
        system: label_counts([row for row in judged.labelled if row.system == system], judged.ready.rubric)
        for system in SYSTEMS
    }
    observed = {
        system: Observed(
            judged=[verdict is not None for verdict in judged.verdicts[system]],
            fault=[finds_fault(judged.ready.rubric, verdict) for verdict in judged.verdicts[system]],
        )
        for system in SYSTEMS
    }
    why = []
    for system in SYSTEMS:
        nothing = why_it_tells_nothing(labelled[system], settings.draws, settings.confidence, settings.seed)
        nothing = nothing or ("" if any(observed[system].judged) else "no answer of it is valid")
        why += [f"{system}: {nothing}"] if nothing else []
    if why:
        return {"why": "; ".join(why), "entry": None}
    figures = corrected(
        observed,
        labelled,
        groups,
        draws=settings.draws,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    n = min(sum(seen.judged) for seen in observed.values())
    gap = figures["difference"]
    shown = gap["low"] > 0 or gap["high"] < 0
    shown = shown and 1 - gap["p_value"] > settings.confidence  # 1 - 0.95 rounds to more than 0.05
    verdict = ("improved" if gap["estimate"] < 0 else "worse") if shown else "not shown"
    entry = metric_entry(
        name=NAME,
        label=f"{LABEL}, corrected for its errors",
        about="safety",
        kind="rate",
        higher_is_better=False,
        compared={"n": n, "groups": min(n, len(set(groups))), **figures, "verdict": verdict},
    )
    return {"why": "", "entry": entry, "labelled": {s: labelled[s].as_json() for s in SYSTEMS}}
