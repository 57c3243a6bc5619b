"""Points of rows' rubrics that answers earn, as a judge says and with the judge's errors taken out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kit.evaluate.agreement import LabelCounts, contrast, drawn_accuracy, resampled, why_it_tells_nothing
from kit.evaluate.axes import Shares, compare_axes
from kit.evaluate.compare import Settings, explore
from kit.evaluate.criteria import FAULT, WANTED, Criterion, mean_held, share_earned, shares_by_axis
from kit.evaluate.entry import compared_entry, metric_entry
from kit.evaluate.judge_calibration import calibration_of, label_counts
from kit.evaluate.judge_criteria import SIGN, JudgedCriteria
from kit.evaluate.judge_labels import Labelled
from kit.evaluate.prompts import Prompt
from kit.evaluate.rubric import CRITERION, MET, NOT_MET, UNPARSABLE
from kit.evaluate.statistics import Floats
from kit.evaluate.timing import SYSTEMS
from kit.evaluate.worst_entry import worst_entry

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
        **({"worst_at_k": _worst(judged, prompts, settings)} if judged.drawn else {}),
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
    return _that_count(judged.verdicts[system][place])


def _that_count(verdicts: list[list[str]] | None) -> list[str] | None:
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


def _by_axis(judged: JudgedCriteria, system: str) -> list[Shares | None]:
    """Of every answer its share of each axis; an invalid one earns nothing."""
    found: list[Shares | None] = []
    for place, rubric in enumerate(judged.rubrics):
        verdicts = _first(judged, system, place)
        said = [NOT_MET] * len(rubric) if verdicts is None else verdicts
        known = UNPARSABLE not in said
        pairs = zip(rubric, said, strict=True)
        scored = ((criterion.axis, criterion.points, verdict == MET) for criterion, verdict in pairs)
        found.append(shares_by_axis(scored) if known else None)
    return found


def _shares(judged: JudgedCriteria, system: str) -> list[float | None]:
    return [_share(rubric, _first(judged, system, n)) for n, rubric in enumerate(judged.rubrics)]


def _worst(judged: JudgedCriteria, prompts: Sequence[Prompt], settings: Settings) -> dict[str, Any] | None:
    """The expected worst of k sampled answers, by the verdicts as they are; None where no prompt has all."""
    items = {
        system: [
            [
                _share(rubric, _that_count(verdicts))
                for rubric, verdicts in zip(judged.rubrics, sample[system], strict=True)
            ]
            for sample in judged.drawn
        ]
        for system in SYSTEMS
    }
    groups = [prompt.group for prompt in prompts]
    about: dict[str, Any] = {"name": NAME, "label": LABEL, "kind": "score", "higher_is_better": True}
    return worst_entry(items, groups, settings, **about, statistic=mean_held)


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
        axes=compare_axes({system: _by_axis(judged, system) for system in SYSTEMS}, groups, settings),
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
    shares = {system: _shares(judged, system) for system in SYSTEMS}
    kept = [n for n in range(len(groups)) if all(shares[system][n] is not None for system in SYSTEMS)]
    signs = {criterion.sign for n in kept for criterion in judged.rubrics[n]}
    # A reply that could not be read leaves its answer out of the figure, and so its label.
    rows = [row for row in judged.labelled if row.verdict != UNPARSABLE]
    labelled = {
        system: {sign: _counts_of(rows, system, sign) for sign in (FAULT, WANTED) if sign in signs}
        for system in SYSTEMS
    }
    why = [] if kept else ["no prompt has all its verdicts on both answers"]
    for system in SYSTEMS:
        for sign, counts in labelled[system].items():
            nothing = why_it_tells_nothing(counts, settings.draws, settings.confidence, settings.seed)
            why += [f"{system}, criteria of points {sign}: {nothing}"] if nothing else []
    if why:
        return {"why": "; ".join(why), "entry": None}
    observed = {system: _observed(judged, system, kept, list(labelled[system])) for system in SYSTEMS}
    of_kept = [groups[n] for n in kept]
    figures = corrected_points(observed, {s: list(labelled[s].values()) for s in SYSTEMS}, of_kept, settings)
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
    of_all = {s: label_counts([row for row in rows if row.system == s], CRITERION) for s in SYSTEMS}
    return {"why": "", "entry": entry, "labelled": {s: of_all[s].as_json() for s in SYSTEMS}}


def _counts_of(rows: Sequence[Labelled], system: str, sign: str) -> LabelCounts:
    own = [row for row in rows if row.system == system and row.slices.get(SIGN) == sign]
    return label_counts(own, CRITERION)


def _observed(judged: JudgedCriteria, system: str, kept: Sequence[int], signs: Sequence[str]) -> Floats:
    """What each answer earns and would earn if it met everything, for each sign; an invalid one nothing.

    Returns:
        (answers, signs, [share observed, share if all were met]).
    """
    found = np.zeros((len(kept), len(signs), 2))
    for row, n in enumerate(kept):
        due = sum(max(criterion.points, 0.0) for criterion in judged.rubrics[n])
        for criterion, said in zip(judged.rubrics[n], _first(judged, system, n) or [], strict=False):
            found[row, signs.index(criterion.sign)] += [criterion.points * (said == MET), criterion.points]
        found[row] /= due
    return found


def corrected_points(
    observed: Mapping[str, Floats],
    labelled: Mapping[str, Sequence[LabelCounts]],
    groups: Sequence[str],
    settings: Settings,
) -> dict[str, Any]:
    """Each system's points and their difference, with the judge's errors taken out.

    Rogan and Gladen's estimate of whether a criterion is met is linear in what the judge says, and points are
    linear in that: with the sensitivity se to what is not met, the specificity sp, the observed mean x and
    the mean w of answers that meet everything, criteria come to (x - (1 - se)·w) / (se + sp - 1). That is
    done apart for wanted criteria and for faults, each with errors of its own, which are taken to be alike
    among them; the sum is held within 0 and 1. Intervals are percentiles of draws over groups of prompts (the
    same for both systems) and labels; a draw in which the judge tells nothing may be any figure from 0 to 1.

    Args:
        observed: `base` and `tuned`, (answers, signs, [share observed, share if all were met]).
        labelled: the same systems and signs, a fault being a criterion that is not met.
        groups: the group of each answer's prompt.

    Returns:
        `{"base", "tuned", "difference"}` as in the entry of a metric.
    """
    found, lows, highs = {}, {}, {}
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    for place, (system, shares) in enumerate(observed.items()):
        of_groups = np.zeros((len(names), shares[0].size + 1))
        np.add.at(of_groups, index, np.column_stack([shares.reshape(len(shares), -1), np.ones(len(shares))]))
        sums = resampled(of_groups, settings.draws, settings.seed)
        figure, drawn, tells = 0.0, np.zeros(settings.draws), np.full(settings.draws, True)
        for sign, counts in enumerate(labelled[system]):
            x, w = shares[:, sign].mean(axis=0)
            se, sp = counts.sensitivity, counts.specificity
            figure += (x - (1 - se) * w) / (se + sp - 1)
            seed = settings.seed + place + len(observed) * sign
            sensitivity, specificity = drawn_accuracy(counts, settings.draws, seed)
            power = sensitivity + specificity - 1
            tells &= power > _NO_POWER
            earned = sums[:, 2 * sign] - (1 - sensitivity) * sums[:, 2 * sign + 1]
            drawn += earned / sums[:, -1] / np.where(power > _NO_POWER, power, 1.0)
        found[system] = float(np.clip(figure, 0, 1))
        lows[system] = np.where(tells, np.clip(drawn, 0, 1), 0.0)
        highs[system] = np.where(tells, np.clip(drawn, 0, 1), 1.0)
    method = f"Rogan-Gladen by criterion, bootstrap over prompts and labels, {settings.draws:,} draws"
    return contrast(found, lows, highs, groups, settings.confidence, method)
