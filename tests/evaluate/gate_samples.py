"""Scores written by hand, for gates and claims."""

from kit.config.gates import Gate
from kit.evaluate.gates import judge_gates


def interval(estimate, low, high, **more):
    return {"estimate": estimate, "low": low, "high": high, "method": "m", **more}


def metric(name, tuned, n=200, higher_is_better=False, **more):
    return {
        "name": name,
        "kind": "rate",
        "higher_is_better": higher_is_better,
        "decoding": "greedy",
        "n": n,
        "base": interval(0.5, 0.4, 0.6),
        "tuned": tuned,
        "difference": interval(-0.4, -0.5, -0.3, p_value=0.001),
        "reduction": None if higher_is_better else interval(0.9, 0.85, 0.95, at_least=False),
        "ratio": None,
        "slices": [],
        "severities": None,
        **more,
    }


def make_scores():
    slices = [
        {
            "column": "language",
            "value": value,
            "n": n,
            "groups": n,
            "tuned": interval(e, e - 0.1, e + 0.05),
            "reduction": None,
        }
        for value, n, e in (("en", 80, 0.95), ("fr", 60, 0.85), ("es", 20, 0.9))
    ]
    return {
        "synthetic": True,
        "confidence": 0.95,
        "conditions": {"mismatches": []},
        "validity": {"greedy": {"base": {"n": 200, "invalid": 20}, "tuned": {"n": 200, "invalid": 3}}},
        "metrics": [
            metric("violation_rate", interval(0.05, 0.03, 0.09)),
            metric("language_fidelity", interval(0.9, 0.85, 0.94), higher_is_better=True, slices=slices),
            metric("response_time", interval(1, 0.9, 1.1), n=16, kind="score", ratio=interval(4.2, 3.9, 4.5)),
        ],
        "unscored": [
            {"name": "over_refusal_rate", "label": "", "decoding": "greedy", "why": "applies to none"}
        ],
    }


def judge(scores, **settings):
    gate = Gate(**{"name": "g", "metric": "violation_rate", "because": "measured", **settings})
    return judge_gates(scores, [gate])[0]
