"""How far a judge agrees with people, and what its verdicts come to once its errors are taken out.

Rows of a matrix are people's labels, columns the judge's verdicts. Needs numpy only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from kit.evaluate.bootstrap import clustered, smallest_p_value, widened
from kit.evaluate.statistics import Floats, Interval, wilson

Weights = Literal["none", "quadratic"]

_NO_POWER = 1e-9  # what rounding leaves of se + sp - 1 where it is nothing
_DRAWS_AT_ONCE = 1_000  # bounds the memory of a bootstrap to this many draws times the groups


@dataclass(frozen=True)
class LabelCounts:
    """Labelled answers by what people and the judge found: the four numbers of a test's accuracy."""

    faults: int
    """Answers in which people found a fault."""
    found: int
    """Those of them in which the judge found one."""
    sound: int
    """Answers in which people found none."""
    passed: int
    """Those of them in which the judge found none."""
    by_group: tuple[tuple[int, int, int, int], ...] = ()
    """The four numbers of every group of prompts; empty where no two answers are of one group."""

    def as_json(self) -> dict[str, int]:
        """The four numbers by name."""
        return {"faults": self.faults, "found": self.found, "sound": self.sound, "passed": self.passed}

    @property
    def sensitivity(self) -> float:
        """The share of faults that the judge sees."""
        return self.found / self.faults

    @property
    def specificity(self) -> float:
        """The share of sound answers that the judge lets pass."""
        return self.passed / self.sound


@dataclass(frozen=True)
class Observed:
    """What the judge made of one system's answers, an entry a prompt."""

    judged: list[bool]
    """Whether the judge was asked about the answer; an invalid one is a fault without being asked about."""
    fault: list[bool]
    """Whether it found a fault; a reply that could not be read found none."""


def count_labels(fault: Sequence[bool], seen: Sequence[bool], groups: Sequence[str]) -> LabelCounts:
    """Labelled answers counted.

    Args:
        fault: whether people found one in an answer.
        seen: whether the judge found one in it.
        groups: the group of the answer's prompt.
    """
    by_group: dict[str, list[int]] = {group: [0, 0, 0, 0] for group in groups}
    for label, found, group in zip(fault, seen, groups, strict=True):
        place = 0 if label else 2
        by_group[group][place] += 1
        by_group[group][place + 1] += found == label
    counted = [(a, b, c, d) for a, b, c, d in by_group.values()]
    return LabelCounts(
        faults=sum(numbers[0] for numbers in counted),
        found=sum(numbers[1] for numbers in counted),
        sound=sum(numbers[2] for numbers in counted),
        passed=sum(numbers[3] for numbers in counted),
        by_group=tuple(counted) if clustered(groups) else (),
    )


def cohen_kappa(matrix: Floats, weights: Weights = "none") -> Floats:
    """Cohen's kappa of square matrices of counts, (..., k, k) -> (...): 1 - Σ w·observed / Σ w·expected.

    w is 0 on the diagonal and 1 elsewhere, or (i - j)² for ordered labels (`quadratic`). NaN where both
    sides use one and the same label only: agreement by chance is then whole. Source: Cohen, Educ. Psychol.
    Meas. 1960, 20:37; weighted: Psychol. Bull. 1968, 70:213.
    """
    size = matrix.shape[-1]
    rows, columns = np.indices((size, size))
    apart = (rows - columns).astype(np.float64) ** 2
    cost = apart if weights == "quadratic" else (apart > 0).astype(np.float64)
    total = matrix.sum(axis=(-2, -1))
    expected = matrix.sum(axis=-1)[..., :, None] * matrix.sum(axis=-2)[..., None, :]
    against = (cost * expected).sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        kappa: Floats = 1 - (cost * matrix).sum(axis=(-2, -1)) * total / against
    return kappa


def kappa_interval(
    cells: Sequence[tuple[int, int]],
    groups: Sequence[str],
    size: int,
    weights: Weights = "none",
    *,
    draws: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Kappa with a percentile bootstrap interval over groups of labelled answers.

    Args:
        cells: (people's label, the judge's verdict) of every labelled answer, as places from 0 to size - 1.
        groups: answers to one prompt belong together.

    Returns:
        `{"estimate", "low", "high", "method"}`, without numbers where kappa does not exist.
    """
    method = f"{'quadratically weighted ' if weights == 'quadratic' else ''}Cohen, bootstrap, {draws:,} draws"
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    counted = np.zeros((len(names), size * size))
    for place, (label, verdict) in zip(index, cells, strict=True):
        counted[place, label * size + verdict] += 1
    estimate = float(cohen_kappa(counted.sum(axis=0).reshape(size, size), weights))
    if np.isnan(estimate):
        return {"estimate": None, "low": None, "high": None, "method": "both use one label only"}
    drawn = resampled(counted, draws, seed)
    kappas = cohen_kappa(drawn.reshape(-1, size, size), weights)
    low, high = np.nanquantile(kappas, [(1 - confidence) / 2, (1 + confidence) / 2])
    return asdict(Interval(estimate, float(low), float(high), method))


def rogan_gladen(observed: float, sensitivity: float, specificity: float) -> float | None:
    """The share of faults there really is: (observed + sp - 1) / (se + sp - 1), held within 0 and 1.

    None where se + sp <= 1: such a judge finds faults at least as often where there are none, and tells
    nothing. Source: Rogan and Gladen, Am. J. Epidemiol. 1978, 107:71.
    """
    power = sensitivity + specificity - 1
    if power <= _NO_POWER:
        return None
    return min(1.0, max(0.0, (observed + specificity - 1) / power))


def why_it_tells_nothing(counts: LabelCounts, draws: int, confidence: float, seed: int) -> str:
    """Why a system's figure cannot be corrected; empty where it can.

    A judge tells something only if its interval of se + sp - 1 (Youden's J) leaves out zero.
    """
    if not counts.faults:
        return "people found no fault in any labelled answer: how many the judge would see is not known"
    if not counts.sound:
        return "people found a fault in every labelled answer: how many sound ones pass is not known"
    sensitivity, specificity = drawn_accuracy(counts, draws, seed)
    power = np.nan_to_num(sensitivity + specificity - 1, nan=-1.0)
    low = float(np.quantile(power, (1 - confidence) / 2))
    if low > 0:
        return ""
    return (
        f"the judge tells nothing: it sees {counts.found} of {counts.faults} faults and finds one in "
        f"{counts.sound - counts.passed} of {counts.sound} sound answers, which is no better than chance"
    )


def corrected(
    observed: dict[str, Observed],
    labelled: dict[str, LabelCounts],
    groups: Sequence[str],
    *,
    draws: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Each system's share of faults and their difference, with the judge's own errors taken out.

    Rogan and Gladen's estimate a system, by its own sensitivity and specificity: an error that moves with
    the system does not cancel in the difference. The intervals are percentiles of draws over both samples:
    groups of prompts, the same for both systems, and labelled answers (binomial, or whole groups where some
    are of one; where the judge was always or never right, half an answer, or half a group, is added to either
    side, so that few labels are not taken for certainty: Lang and Reiczigel, Prev. Vet. Med. 2014, 113:13). A
    draw in which the judge tells nothing may be any
    share, from 0 to 1. Answers that were not judged are faults: an invalid answer never counts as a good one.

    Args:
        observed: `base` and `tuned`; each has at least one judged answer.
        labelled: the same systems; `why_it_tells_nothing` is empty for each.

    Returns:
        `{"base", "tuned", "difference", "reduction"}` as in the entry of a metric; reduction is null where
        base comes to no fault.
    """
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    lows, highs, found = {}, {}, {}
    for place, (system, seen) in enumerate(observed.items()):
        counts = labelled[system]
        among_judged = sum(seen.fault) / sum(seen.judged)
        judged = sum(seen.judged) / len(seen.judged)
        share = rogan_gladen(among_judged, counts.sensitivity, counts.specificity) or 0.0
        found[system] = share * judged + 1 - judged
        sensitivity, specificity = drawn_accuracy(counts, draws, seed + place)
        among_judged_drawn, judged_drawn = _drawn_shares(seen, groups, draws, seed)
        power = sensitivity + specificity - 1
        tells = power > _NO_POWER
        values = np.clip((among_judged_drawn + specificity - 1) / np.where(tells, power, 1.0), 0, 1)
        lows[system] = np.where(tells, values, 0.0) * judged_drawn + 1 - judged_drawn
        highs[system] = np.where(tells, values, 1.0) * judged_drawn + 1 - judged_drawn
    method = f"Rogan-Gladen, bootstrap over prompts and labels, {draws:,} draws"
    return {
        **contrast(found, lows, highs, groups, confidence, method),
        "reduction": _reduction(found, lows, highs, tails, method),
    }


def contrast(
    found: Mapping[str, float],
    lows: Mapping[str, Floats],
    highs: Mapping[str, Floats],
    groups: Sequence[str],
    confidence: float,
    method: str,
) -> dict[str, Any]:
    """Both systems' figures and their difference, with intervals and p-value from draws.

    Args:
        found: `base` and `tuned`, the figures themselves.
        lows, highs: what the figures may be in each draw, (draws,) each; the same where the draw tells it.

    Returns:
        `{"base", "tuned", "difference"}` as in the entry of a metric.
    """
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    result: dict[str, Any] = {}
    for system in ("base", "tuned"):
        low, high = float(np.quantile(lows[system], tails[0])), float(np.quantile(highs[system], tails[1]))
        result[system] = asdict(Interval(found[system], low, high, method))
    least, most = lows["tuned"] - highs["base"], highs["tuned"] - lows["base"]
    beyond = min(int(np.sum(least <= 0)), int(np.sum(most >= 0)))
    p_value = max(min(1.0, 2 * (beyond + 1) / (len(least) + 1)), smallest_p_value(groups))
    low, high = float(np.quantile(least, tails[0])), float(np.quantile(most, tails[1]))
    gap = Interval(found["tuned"] - found["base"], low, high, method)
    result["difference"] = {**asdict(gap), "p_value": p_value}
    return result


def _reduction(
    found: dict[str, float],
    lows: dict[str, Floats],
    highs: dict[str, Floats],
    tails: Sequence[float],
    method: str,
) -> dict[str, Any] | None:
    """1 - tuned/base; None where base comes to no fault."""
    if found["base"] <= 0:
        return None
    # A draw without a fault of base has nothing to reduce; of a thousandth it stays a number.
    fewest = 1 - highs["tuned"] / np.maximum(lows["base"], 1e-3)
    furthest = 1 - lows["tuned"] / np.maximum(highs["base"], 1e-3)
    low, high = float(np.quantile(fewest, tails[0])), float(np.quantile(furthest, tails[1]))
    fewer = Interval(1 - found["tuned"] / found["base"], low, high, method)
    return {**asdict(fewer), "at_least": False}


def accuracy(
    counts: LabelCounts, *, draws: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Sensitivity and specificity with Wilson intervals, widened where answers are of one group.

    Null where no answer could show them.
    """

    def share(n: int, right: int, groups: Sequence[tuple[int, int]]) -> dict[str, Any] | None:
        if not n:
            return None
        interval = wilson(right, n, confidence)
        if groups:
            values = [float(place < good) for size, good in groups for place in range(size)]
            names = [str(name) for name, (size, _) in enumerate(groups) for _ in range(size)]
            interval = widened(interval, values, names, draws=draws, confidence=confidence, seed=seed)
        return asdict(interval)

    return {
        "sensitivity": share(counts.faults, counts.found, [group[:2] for group in counts.by_group]),
        "specificity": share(counts.sound, counts.passed, [group[2:] for group in counts.by_group]),
    }


def drawn_accuracy(counts: LabelCounts, draws: int, seed: int) -> tuple[Floats, Floats]:
    """Sensitivity and specificity, (draws,) each; NaN where a draw of groups has no answer to show them."""
    generator = np.random.default_rng(seed)
    sums = resampled(np.array(counts.by_group, dtype=np.float64), draws, seed) if counts.by_group else None

    def drawn(n: int, right: int, place: int) -> Floats:
        shares: Floats
        at_an_edge = right in (0, n)
        if sums is not None and not at_an_edge:
            with np.errstate(invalid="ignore"):
                shares = sums[:, place + 1] / sums[:, place]
            return shares
        if sums is not None:  # all groups say the same, each of them once
            n = sum(group[place] > 0 for group in counts.by_group)
            right = n if right else 0
        share = (right + 0.5) / (n + 1) if at_an_edge else right / n
        shares = generator.binomial(n, share, size=draws) / n
        return shares

    return drawn(counts.faults, counts.found, 0), drawn(counts.sound, counts.passed, 2)


def _drawn_shares(seen: Observed, groups: Sequence[str], draws: int, seed: int) -> tuple[Floats, Floats]:
    """Over groups drawn with replacement, the share of faults among judged answers, and of judged answers.

    The same seed draws the same groups for both systems.
    """
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    counted = np.zeros((len(names), 3))
    answers = [seen.fault, seen.judged, [True] * len(seen.judged)]
    np.add.at(counted, index, np.array(answers, dtype=np.float64).T)
    faults, judged, n = resampled(counted, draws, seed).T
    return faults / np.maximum(judged, 1), judged / n


def resampled(counted: Floats, draws: int, seed: int) -> Floats:
    """Sums over groups drawn with replacement, (groups, c) -> (draws, c); a seed draws the same groups."""
    generator, groups = np.random.default_rng(seed), len(counted)
    parts = []
    for start in range(0, draws, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, draws - start)
        parts.append(generator.multinomial(groups, [1 / groups] * groups, size=size) @ counted)
    return np.concatenate(parts)
