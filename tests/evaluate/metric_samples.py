"""What tests of the metrics share: the room they stand in, which take a policy, and how cases are scored."""

from pathlib import Path

from kit.config.schema import MetricUse
from kit.evaluate import metrics as metrics_room
from kit.evaluate.metrics import load_metric, score
from kit.hooks import Hooks

ROOM = Path(metrics_room.__file__).parent
OF_RECORDS = {
    "response_time",
    "answer_perplexity",
    "memorised_secrets",
    "calibration_error",
    "brier_score",
    "risk_coverage",
}
WITH_POLICY = {
    "violation_rate",
    "disclosure_rate",
    "hand_over_rate",
    "over_refusal_rate",
    "recommendation_accuracy",
    "escalation_recall",
    "under_triage",
    "over_triage",
    "refusal_rate",
}


def items(name, cases, policy=None, languages=()):
    """The items of a metric for (answer, reference) pairs."""
    params = {"policy": str(policy)} if name in WITH_POLICY else {}
    metric = load_metric(MetricUse(name=name, params=params), Hooks(), Path("/"), languages)
    result = score(metric, [answer for answer, _ in cases], [reference for _, reference in cases])
    assert len(result.details) == len(cases)
    return result.items
