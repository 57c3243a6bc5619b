"""Training seeds as a factor: how much of the uncertainty is the prompts', how much the luck of training."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kit.config.yaml_lines import load_yaml
from kit.evaluate.bootstrap import t_quantile
from kit.evaluate.statistics import Floats
from kit.train.runs import runs_before

FEWEST_SEEDS = 3
"""Two runs say next to nothing of how much runs differ."""
_TRAINED_BY = ("model", "method", "train", "data", "tier")

Scores = dict[str, Any]


@dataclass(frozen=True)
class SeedEffect:
    """The mean of values that differ by prompt and by seed, with both parts of its standard error.

    `seed_deviation` is the standard deviation between runs that differ by nothing but the seed, of an
    endless number of prompts.
    """

    estimate: float
    low: float
    high: float
    prompt_error: float
    seed_error: float
    seed_deviation: float


def seed_effect(values: Floats, confidence: float = 0.95) -> SeedEffect:
    """Take apart values of the same prompts (rows) in runs of several seeds (columns).

    Both are random effects without repetition: the components follow from the mean squares of rows,
    columns and the rest, and none is less than zero. The interval is estimate ± t·sqrt(prompt_error² +
    seed_error²) with Satterthwaite's degrees of freedom. Source: Searle, Casella and McCulloch, Variance
    Components, 1992, 4.4; Satterthwaite, Biometrics Bull. 1946, 2:110.

    Raises:
        ValueError: there are fewer than two prompts or two seeds.
    """
    n, seeds = values.shape
    if n < 2 or seeds < 2:
        raise ValueError(f"need two prompts and two seeds at least, found {n} and {seeds}")
    grand, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    rest = values - rows[:, None] - columns[None, :] + grand
    by_row = seeds * float(np.sum((rows - grand) ** 2)) / (n - 1)
    by_column = n * float(np.sum((columns - grand) ** 2)) / (seeds - 1)
    by_rest = float(np.sum(rest**2)) / ((n - 1) * (seeds - 1))
    seed_variance = max(0.0, (by_column - by_rest) / n)
    prompt_variance = max(0.0, (by_row - by_rest) / seeds)
    of_prompts = (prompt_variance + by_rest / seeds) / n
    of_seeds = seed_variance / seeds
    total = of_prompts + of_seeds
    weighed = of_prompts**2 / (n - 1) + of_seeds**2 / (seeds - 1)
    degrees = total**2 / weighed if weighed else float(n - 1)
    half = t_quantile(confidence, degrees) * math.sqrt(total)
    return SeedEffect(
        estimate=float(grand),
        low=float(grand) - half,
        high=float(grand) + half,
        prompt_error=math.sqrt(of_prompts),
        seed_error=math.sqrt(of_seeds),
        seed_deviation=math.sqrt(seed_variance),
    )


def find_seeds(root: Path, evaluation: Path) -> dict[int, Scores]:
    """The scores of this evaluation and of those that differ from it by the training seed only, by seed.

    The same settings of model, method, training and data, the same prompts, the same way of asking; of
    several with one seed the newest. Empty where the evaluation does not say how it was made.
    """
    own = _record(evaluation)
    if own is None:
        return {}
    scores = _read(evaluation / "scores.json")
    found = {own["generation"]["seed"]: scores}
    asked = [item["id"] for item in scores["items"]]
    others = sorted(evaluation.parent.glob("*/evaluation.json"), key=lambda path: -path.stat().st_mtime_ns)
    for path in others:
        record = _record(path.parent)
        if record is None or record["generation"]["seed"] in found:
            continue
        if _but_for_the_seed(root, record) != _but_for_the_seed(root, own):
            continue
        theirs = _read(path.parent / "scores.json")
        if [item["id"] for item in theirs["items"]] == asked:
            found[record["generation"]["seed"]] = theirs
    return dict(sorted(found.items()))


def seed_factor(by_seed: Mapping[int, Scores]) -> list[dict[str, Any]]:
    """For every greedy metric, tuned minus base over seeds and prompts; empty with fewer than three seeds.

    Prompts of one group count as one, by their mean. `tuned` is each run's tuned score, in the order of
    the seeds.
    """
    if len(by_seed) < FEWEST_SEEDS:
        return []
    first = next(iter(by_seed.values()))
    rows = []
    for entry in first["metrics"]:
        # Of times and of figures made from sums the items are no parts that a mean could be taken of.
        if entry["decoding"] != "greedy" or entry["ratio"] is not None or entry.get("of_sums"):
            continue
        name = entry["name"]
        systems = [_items(scores, name) for scores in by_seed.values()]
        scored = [
            place
            for place in range(len(first["items"]))
            if all(base[place] is not None and tuned[place] is not None for base, tuned in systems)
        ]
        groups = [first["items"][place]["group"] for place in scored]
        gaps = [[tuned[place] - base[place] for place in scored] for base, tuned in systems]
        if len(set(groups)) < 2:
            continue
        effect = seed_effect(_group_means(gaps, groups), first["confidence"])
        tuned_means = [float(np.mean([tuned[place] for place in scored])) for _, tuned in systems]
        row = {"name": name, "label": entry["label"], "seeds": list(by_seed), "n": len(scored)}
        rows.append({**row, "tuned": tuned_means, "difference": asdict(effect)})
    return rows


def _items(scores: Scores, name: str) -> tuple[list[Any], list[Any]]:
    found = [item["greedy"] for item in scores["items"]]
    return (
        [item["base"]["scores"].get(name) for item in found],
        [item["tuned"]["scores"].get(name) for item in found],
    )


def _group_means(gaps: Sequence[Sequence[float]], groups: Sequence[str]) -> Floats:
    _, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sizes = np.bincount(index)
    means: Floats = np.stack([np.bincount(index, weights=np.asarray(run)) / sizes for run in gaps], axis=1)
    return means


def _but_for_the_seed(root: Path, record: Scores) -> Any:
    """What two evaluations share that differ by the seed only (which is in the data's fingerprint too)."""
    own = ("run", "golden", "data", "seed")
    generation = {key: value for key, value in record["generation"].items() if key not in own}
    run = root / "runs" / record["run"]
    if not (run / "config.yaml").is_file():
        return record["run"]  # nothing is known of it, so it is like no other
    return generation, record["scoring"], [_trained_by(stage) for stage in (run, *runs_before(run))]


def _trained_by(run: Path) -> Any:
    if not (run / "config.yaml").is_file():
        return run.name
    tree, _ = load_yaml(run / "config.yaml")
    return {key: tree.get(key) for key in _TRAINED_BY}


def _record(evaluation: Path) -> Scores | None:
    path = evaluation / "evaluation.json"
    return _read(path) if path.is_file() and (evaluation / "scores.json").is_file() else None


def _read(path: Path) -> Scores:
    value: Scores = json.loads(path.read_text(encoding="utf-8"))
    return value
