"""Points of rows' rubrics that answers earn, as a judge says and with the judge's errors taken out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kit.evaluate.agreement import LabelCounts, contrast, drawn_accuracy, resampled, why_it_tells_nothing
from kit.evaluate.compare import Settings, explore
from kit.evaluate.criteria import Criterion, mean_held, share_earned
from kit.evaluate.entry import compared_entry, metric_entry
from kit.evaluate.judge_calibration import calibration_of, label_counts
from kit.evaluate.judge_criteria import JudgedCriteria
from kit.evaluate.prompts import Prompt
from kit.evaluate.rubric import CRITERION, MET, NOT_MET, UNPARSABLE
from kit.evaluate.statistics import Floats
from kit.evaluate.timing import SYSTEMS

NAME = "judge_rubric"
LABEL = "Rubric points earned, as the judge says"
_DETAILS_SHOWN = 20
_NO_POWER = 1e-9


def criteria_scores(
    judged: JudgedCriteria, prompts: Sequence[Prompt], named: bool, settings: Settings
) -> dict[str, Any]:
    """`rubrics` of `scores.json`'s `judge`.

    Args:
        named: whether the settings name labels.
    """
    calibration = calibration_of(
        CRITERION, judged.labelled, judged.labels_left_out, named, settings, "criteria of answers"
    )
    return {
        "prompts": sum(map(bool, judged.rubrics)),
        "verdicts": {system: _counted(judged, system) for system in SYSTEMS},
        "metric": _metric(judged, prompts, settings),
        "calibration": calibration,
        "corrected": _corrected(judged, [prompt.group for prompt in prompts], calibration, settings),
    }


def criteria_items(judged: JudgedCriteria) -> list[list[dict[str, Any]]]:
    """For every prompt its criteria with what the judge said of either answer; null of invalid ones."""
    items = []
    for place, rubric in enumerate(judged.rubrics):
        said = {system: _first(judged, system, place) for system in SYSTEMS}
        items.append(
            [
                {"criterion": criterion.text, "points": criterion.points}
                | {system: verdicts[number] if verdicts else None for system, verdicts in said.items()}
                for number, criterion in enumerate(rubric)
            ]
        )
    return items


def _first(judged: JudgedCriteria, system: str, place: int) -> list[str] | None:
    """The verdicts that count."""
    verdicts = judged.verdicts[system][place]
    return None if verdicts is None else [runs[0] for runs in verdicts]


def _counted(judged: JudgedCriteria, system: str) -> dict[str, Any]:
    """How often each verdict on a criterion was given."""
    asked = [runs for verdicts in judged.verdicts[system] for runs in verdicts or []]
    found = Counter(runs[0] for runs in asked)
    pairs = zip(judged.rubrics, judged.verdicts[system], strict=True)
    return {
        "n": len(asked),
        "invalid": sum(bool(rubric) and verdicts is None for rubric, verdicts in pairs),
        "counts": {name: found[name] for name in (MET, NOT_MET, UNPARSABLE)},
        "repeated": sum(len(runs) > 1 for runs in asked),
        "changed": sum(len(set(runs)) > 1 for runs in asked),
    }


def _share(rubric: Sequence[Criterion], verdicts: Sequence[str] | None) -> float | None:
    """An answer's share of its rubric's points; 0 of an invalid one, None where it is not known."""
    if not rubric or (verdicts and UNPARSABLE in verdicts):
        return None
    if verdicts is None:
        return 0.0
    return share_earned((one.points, said == MET) for one, said in zip(rubric, verdicts, strict=True))


def _shares(judged: JudgedCriteria, system: str) -> list[float | None]:
    return [_share(rubric, _first(judged, system, n)) for n, rubric in enumerate(judged.rubrics)]


def _metric(judged: JudgedCriteria, prompts: Sequence[Prompt], settings: Settings) -> dict[str, Any] | None:
    """The verdicts as they are; None where no prompt has all of them for both systems."""
    groups, slices = [prompt.group for prompt in prompts], [prompt.slices for prompt in prompts]
    entry = compared_entry(
        [
            [None if share is None else [share, 1.0] for share in _shares(judged, system)]
            for system in SYSTEMS
        ],
        groups,
        slices,
        settings,
        name=NAME,
        label=LABEL,
        about="agreement",
        kind="score",
        higher_is_better=True,
        statistic=mean_held,
        details=_details(judged),
    )
    if entry is None:
        return None
    explore([entry], settings.confidence)
    return entry


def _details(judged: JudgedCriteria) -> dict[str, dict[str, int]]:
    """What took points, and in how many answers: over both systems the commonest."""
    found = {}
    for system in SYSTEMS:
        found[system] = Counter(
            reason
            for place, rubric in enumerate(judged.rubrics)
            for criterion, said in zip(rubric, _first(judged, system, place) or [], strict=False)
            if said != UNPARSABLE and (reason := criterion.reason(said == MET))
        )
    both = found["base"] + found["tuned"]
    shown = sorted(both, key=lambda reason: (-both[reason], reason))[:_DETAILS_SHOWN]
    return {s: {reason: found[s][reason] for reason in shown if found[s][reason]} for s in SYSTEMS}


def _corrected(
    judged: JudgedCriteria, groups: Sequence[str], calibration: Mapping[str, Any], settings: Settings
) -> dict[str, Any]:
    """The points with the judge's errors taken out; `entry` is None where `why` says why there is none."""
    if calibration["why"]:
        return {"why": calibration["why"], "entry": None}
    # A reply that could not be read leaves its answer out of the figure, and so its label.
    rows = [row for row in judged.labelled if row.verdict != UNPARSABLE]
    labelled = {s: label_counts([row for row in rows if row.system == s], CRITERION) for s in SYSTEMS}
    why = []
    for system in SYSTEMS:
        nothing = why_it_tells_nothing(labelled[system], settings.draws, settings.confidence, settings.seed)
        why += [f"{system}: {nothing}"] if nothing else []
    shares = {system: _shares(judged, system) for system in SYSTEMS}
    kept = [n for n in range(len(groups)) if all(shares[system][n] is not None for system in SYSTEMS)]
    why += [] if kept else ["no prompt has all its verdicts on both answers"]
    if why:
        return {"why": "; ".join(why), "entry": None}
    observed = {}
    for system in SYSTEMS:
        whole = [_whole(judged.rubrics[n], judged.verdicts[system][n] is not None) for n in kept]
        observed[system] = np.array(
            [[shares[system][n], each, 1.0] for n, each in zip(kept, whole, strict=True)]
        )
    of_kept = [groups[n] for n in kept]
    figures = corrected_points(observed, labelled, of_kept, settings)
    gap = figures["difference"]
    shown = (gap["low"] > 0 or gap["high"] < 0) and 1 - gap["p_value"] > settings.confidence
    verdict = ("improved" if gap["estimate"] > 0 else "worse") if shown else "not shown"
    entry = metric_entry(
        name=NAME,
        label="Rubric points earned, corrected for the judge's errors",
        about="agreement",
        kind="score",
        higher_is_better=True,
        of_sums=True,
        compared={
            "n": len(kept),
            "groups": len(set(of_kept)),
            **figures,
            "reduction": None,
            "verdict": verdict,
        },
    )
    return {"why": "", "entry": entry, "labelled": {s: labelled[s].as_json() for s in SYSTEMS}}


def _whole(rubric: Sequence[Criterion], valid: bool) -> float:
    """What an answer that meets every criterion, the faults too, would earn; of an invalid one nothing."""
    return share_earned((criterion.points, True) for criterion in rubric) if valid else 0.0


def corrected_points(
    observed: Mapping[str, Floats],
    labelled: Mapping[str, LabelCounts],
    groups: Sequence[str],
    settings: Settings,
) -> dict[str, Any]:
    """Each system's points and their difference, with the judge's errors taken out.

    Rogan and Gladen's estimate of whether a criterion is met is linear in what the judge says, and points are
    linear in that: with the sensitivity se to what is not met, the specificity sp, the observed mean x and
    the mean w of answers that meet everything, the points are (x - (1 - se)·w) / (se + sp - 1), held within 0
    and 1. The errors are taken to be alike over criteria of any points. Intervals are percentiles of draws
    over groups of prompts (the same for both systems) and labels; a draw in which the judge tells nothing may
    be any figure from 0 to 1.

    Args:
        observed: `base` and `tuned`, (answers, [share observed, share if all were met, 1]).
        labelled: the same systems, a fault being a criterion that is not met.
        groups: the group of each answer's prompt.

    Returns:
        `{"base", "tuned", "difference"}` as in the entry of a metric.
    """
    found, lows, highs = {}, {}, {}
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    for place, (system, answers) in enumerate(observed.items()):
        counts = labelled[system]
        share, whole = answers[:, 0].mean(), answers[:, 1].mean()
        power = counts.sensitivity + counts.specificity - 1
        found[system] = float(np.clip((share - (1 - counts.sensitivity) * whole) / power, 0, 1))
        sensitivity, specificity = drawn_accuracy(counts, settings.draws, settings.seed + place)
        of_groups = np.zeros((len(names), 3))
        np.add.at(of_groups, index, answers)
        sums = resampled(of_groups, settings.draws, settings.seed)
        drawn = sensitivity + specificity - 1
        tells = drawn > _NO_POWER
        values = (sums[:, 0] - (1 - sensitivity) * sums[:, 1]) / sums[:, 2] / np.where(tells, drawn, 1.0)
        lows[system] = np.where(tells, np.clip(values, 0, 1), 0.0)
        highs[system] = np.where(tells, np.clip(values, 0, 1), 1.0)
    method = f"Rogan-Gladen by criterion, bootstrap over prompts and labels, {settings.draws:,} draws"
    return contrast(found, lows, highs, groups, settings.confidence, method)
