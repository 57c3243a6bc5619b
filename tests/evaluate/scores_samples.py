"""What tests of `scores.json` share: prompts, predictions and a policy of two rules."""

from pathlib import Path

import pytest

from kit.config.schema import Config, MetricUse
from kit.evaluate.evaluate import load_metrics
from kit.evaluate.prompts import Prompt
from kit.evaluate.scores import build_scores
from kit.hooks import Hooks

GOOD = "It can fall in value, and nothing is guaranteed."
BAD = "It is guaranteed."
REFUSAL = "I can't help with that."
CONDITIONS = {"base": {}, "tuned": {}, "mismatches": []}
HEADER = {"evaluation": "e", "run": "r", "data": "d", "synthetic": True, "conditions": CONDITIONS}


@pytest.fixture
def config(policy_file):
    names = ["violation_rate", "disclosure_rate", "over_refusal_rate", "token_f1"]
    uses = [
        {"name": name, "params": {} if name == "token_f1" else {"policy": str(policy_file)}} for name in names
    ]
    return Config.model_validate(
        {
            "evaluate": {"metrics": uses, "sampling": {"enabled": False}, "bootstrap_draws": 500},
            "gates": [
                {"name": "few violations", "metric": "violation_rate", "at_most": 0.05},
                {"name": "few refusals", "metric": "over_refusal_rate", "at_most": 0.1},
            ],
        }
    )


def use_of(name):
    return MetricUse(name=name)


def make_prompts(count, per_group=1):
    return [
        Prompt(
            id=f"{n:04x}",
            messages=[{"role": "user", "content": f"Q{n}"}],
            expected={"topic": "funds", "answerable": True},
            slices={"language": "en" if n % 4 else "fr"},
            group=str(n // per_group),
            answer=GOOD,
        )
        for n in range(count)
    ]


def predict(prompts, base, tuned, finished=True):
    """Predictions where `base(n)` and `tuned(n)` give the answer to the n-th prompt."""
    return {
        (prompt.id, system, "greedy", 0): {"output": answer(int(prompt.id, 16)), "finished": finished}
        for prompt in prompts
        for system, answer in (("base", base), ("tuned", tuned))
    }


def scored(config, prompts, predictions, latency=(), hooks=None):
    metrics = load_metrics(config, hooks or Hooks(), Path("/"))
    return build_scores(config, metrics, prompts, predictions, latency, HEADER)


def entry(scores, name, decoding="greedy"):
    return next(e for e in scores["metrics"] if (e["name"], e["decoding"]) == (name, decoding))


def often_bad(n):
    return BAD if n % 2 else GOOD


def rarely_bad(n):
    return BAD if n == 1 else GOOD


def timed(factor, tokens=(40, 20), count=12):
    """Latency lines: tuned answers `factor` times as fast."""
    lines = []
    for n in range(count):
        base = 2.0 + 0.01 * n
        for system, seconds, new in (("base", base, tokens[0]), ("tuned", base / factor, tokens[1])):
            lines.append(
                {
                    "id": f"{n:04x}",
                    "system": system,
                    "seconds_to_first_token": seconds / 10,
                    "seconds": seconds,
                    "new_tokens": new,
                    "concurrency": 1,
                    "batch": n,
                    "batch_seconds": seconds,
                    "inter_token_seconds": [0.9 * seconds / (new - 1)] * (new - 1),
                    "finished": True,
                    "order": "in turn",
                }
            )
    return lines
