"""Points of a row's rubric that an answer earns, as in HealthBench, with phrases in the place of a judge."""

from typing import Any

from kit.config.errors import DataError, Problem
from kit.evaluate.criteria import has_points, mean_held, share_earned, shares_by_axis, told
from kit.evaluate.item_metric import CorpusMetric, Judgement, Reference
from kit.evaluate.phrases import says_one, states_one
from kit.evaluate.statistics import Floats
from kit.evaluate.text import normalise


class RubricScore(CorpusMetric):
    """The mean over answers of the points met by the points there are, held within 0 and 1."""

    label = "Rubric points earned"
    about = "agreement"
    kind = "score"
    higher_is_better = True
    invalid_item = 0.0
    is_mean = True
    formula = "mean over answers of: points of the criteria met / positive points, held within 0 and 1"

    def applies(self, reference: Reference) -> bool:
        """Whether the row has a `rubric`."""
        return bool(reference.get("rubric"))

    def unreachable(self, reference: Reference) -> str:
        """What is wrong with a rubric that no answer could be judged by."""
        rubric = reference["rubric"]
        broken = [one for one in rubric if not _whole(one)] if isinstance(rubric, list) else [rubric]
        if broken:
            return f"a criterion of `rubric` has `points`, not 0, and `say`, phrases; found {broken[0]!r:.80}"
        if not any(criterion["points"] > 0 for criterion in rubric):
            return "no criterion of `rubric` has points above 0"
        return ""

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """The answer's own share, below 0 where faults outweigh; with the criteria missed, and the faults.

        Raises:
            DataError: the row's rubric is none.
        """
        if wrong := self.unreachable(reference):
            raise DataError(Problem("a row's `rubric`", wrong, "see the card of rubric_score"))
        text, scored, reasons = normalise(prediction), [], []
        for criterion in reference["rubric"]:
            points, met = float(criterion["points"]), _is_met(criterion, text)
            scored.append((points, met))
            if met != (points > 0):
                reasons.append(told(points, _axis(criterion), _name(criterion)))
        return share_earned(scored), reasons

    def by_axis(self, prediction: str, reference: Reference) -> dict[str, float]:
        """The answer's share of the points of each axis that its rubric names."""
        text = normalise(prediction)
        return shares_by_axis(
            (_axis(criterion), float(criterion["points"]), _is_met(criterion, text))
            for criterion in reference["rubric"]
        )

    def counts(self, prediction: str, reference: Reference) -> list[float]:
        """The answer's own share, and one."""
        return [self.judge(prediction, reference)[0] or 0.0, 1.0]

    def statistic(self, sums: Floats) -> Floats:
        """The mean, held within 0 and 1: the mean is clipped and no answer is."""
        return mean_held(sums)


def _whole(criterion: Any) -> bool:
    """Whether a criterion has points and phrases."""
    return has_points(criterion) and any(str(phrase).strip() for phrase in _phrases(criterion))


def _is_met(criterion: dict[str, Any], text: str) -> bool:
    """Whether an answer says one of the phrases: undenied where that is wanted."""
    says = states_one if float(criterion["points"]) > 0 else says_one
    return says(_phrases(criterion), text)


def _axis(criterion: dict[str, Any]) -> str:
    return str(criterion.get("axis") or "")


def _phrases(criterion: dict[str, Any]) -> list[str]:
    said = criterion.get("say") or []
    return [str(phrase) for phrase in (said if isinstance(said, list) else [said])]


def _name(criterion: dict[str, Any]) -> str:
    return str(criterion.get("name") or criterion.get("criterion") or _phrases(criterion)[0])
