"""Seeds as a factor: the components of the variance, their interval, and which runs belong together."""

import json

import numpy as np
import pandas
import pytest
import statsmodels.formula.api as models
import yaml
from statsmodels.stats.anova import anova_lm

from kit.evaluate.seeds import find_seeds, seed_effect, seed_factor


def draw(generator, prompts, seeds, prompt=0.3, seed=0.05, rest=0.2, mean=0.1):
    return (
        mean
        + generator.normal(0, prompt, (prompts, 1))
        + generator.normal(0, seed, (1, seeds))
        + generator.normal(0, rest, (prompts, seeds))
    )


def test_the_components_are_those_of_a_two_way_analysis_of_variance():
    values = draw(np.random.default_rng(50), 40, 4)
    long = [{"y": values[i, s], "prompt": f"p{i}", "seed": f"s{s}"} for i in range(40) for s in range(4)]
    found = anova_lm(models.ols("y ~ C(prompt) + C(seed)", pandas.DataFrame(long)).fit())
    squares = found["sum_sq"] / found["df"]
    of_seeds = (squares["C(seed)"] - squares["Residual"]) / 40
    effect = seed_effect(values)
    assert effect.estimate == pytest.approx(values.mean())
    assert effect.seed_deviation**2 == pytest.approx(of_seeds)
    assert effect.seed_error**2 == pytest.approx(of_seeds / 4)
    assert effect.prompt_error**2 == pytest.approx(squares["C(prompt)"] / (40 * 4))


def test_the_interval_covers_over_seeds_and_prompts_and_one_run_alone_would_not():
    generator, covered, alone = np.random.default_rng(51), 0, 0
    for _ in range(600):
        values = draw(generator, 100, 5, seed=0.1)
        effect = seed_effect(values)
        covered += effect.low <= 0.1 <= effect.high
        one = values[:, 0]
        alone += abs(one.mean() - 0.1) <= 1.98 * one.std(ddof=1) / 10
    assert 0.92 <= covered / 600 <= 0.98
    assert alone / 600 < 0.7


def test_runs_that_do_not_differ_have_no_seed_error():
    same = np.tile(np.random.default_rng(52).normal(size=(30, 1)), (1, 3))
    effect = seed_effect(same)
    assert (effect.seed_error, effect.seed_deviation) == pytest.approx((0, 0), abs=1e-12)
    assert effect.high > effect.low
    flat = seed_effect(np.zeros((30, 3)))
    assert (flat.low, flat.high) == (0, 0)
    with pytest.raises(ValueError, match="two seeds at least"):
        seed_effect(np.zeros((30, 1)))


def add(root, name, seed, *, rate=2e-4, scoring="x", prompts=40, group=1, **generation):
    """An evaluation on disk, with the run it looked at."""
    generator = np.random.default_rng(seed)
    items = [
        {
            "id": f"{n:04x}",
            "group": str(n // group),
            "greedy": {
                "base": {"scores": {"m": float(n % 2), "t": None}},
                "tuned": {"scores": {"m": float(generator.random() < 0.1), "t": None}},
            },
        }
        for n in range(prompts)
    ]
    entry = {"name": "m", "label": "M", "decoding": "greedy", "ratio": None}
    entries = [entry, entry | {"name": "t"}, entry | {"decoding": "sampled"}, entry | {"ratio": {}}]
    entries.append(entry | {"of_sums": True})  # its items have no mean that means anything
    folder = root / "evaluations" / name
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps({"metrics": entries, "items": items, "confidence": 0.95}))
    made = {"run": name, "golden": name, "data": f"d{seed}", "seed": seed, "kit_version": "1", **generation}
    record = {"run": name, "generation": made, "scoring": scoring}
    (folder / "evaluation.json").write_text(json.dumps(record))
    config = {"seed": seed, "train": {"learning_rate": rate}, "gates": [{"name": name}]}
    path = root / "runs" / name / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(config))
    return folder


def test_only_runs_that_differ_by_the_seed_belong_together(tmp_path):
    own = add(tmp_path, "a", 2)
    add(tmp_path, "b", 1)
    add(tmp_path, "c", 3)
    add(tmp_path, "other-rate", 4, rate=1e-4)
    add(tmp_path, "other-scoring", 5, scoring="y")
    add(tmp_path, "other-prompts", 6, prompts=41)
    add(tmp_path, "other-asking", 7, kit_version="2")
    add(tmp_path, "the-same-seed", 2)
    by_seed = find_seeds(tmp_path, own)
    assert list(by_seed) == [1, 2, 3]
    assert by_seed[2] == json.loads((own / "scores.json").read_text())
    (row,) = seed_factor(by_seed)
    assert (row["name"], row["seeds"], row["n"]) == ("m", [1, 2, 3], 40)
    means = [np.mean([i["greedy"]["tuned"]["scores"]["m"] for i in s["items"]]) for s in by_seed.values()]
    assert row["tuned"] == pytest.approx(means)
    gap = row["difference"]
    assert gap["estimate"] == pytest.approx(np.mean(means) - 0.5)
    assert gap["low"] < gap["estimate"] < gap["high"]


def test_two_seeds_are_too_few_and_an_evaluation_of_unknown_make_stands_alone(tmp_path):
    own = add(tmp_path, "a", 1)
    add(tmp_path, "b", 2)
    assert list(find_seeds(tmp_path, own)) == [1, 2] and seed_factor(find_seeds(tmp_path, own)) == []
    (own / "evaluation.json").unlink()
    assert find_seeds(tmp_path, own) == {}


def test_prompts_of_one_group_are_one_witness(tmp_path):
    for seed in (1, 2, 3):
        alone, grouped = add(tmp_path / "a", f"r{seed}", seed), add(tmp_path / "g", f"r{seed}", seed, group=8)
    (one,) = seed_factor(find_seeds(tmp_path / "a", alone))
    (few,) = seed_factor(find_seeds(tmp_path / "g", grouped))
    assert few["difference"]["estimate"] == pytest.approx(one["difference"]["estimate"])
    assert few["difference"]["prompt_error"] != pytest.approx(one["difference"]["prompt_error"])


def test_runs_of_a_chain_belong_together_only_if_their_earlier_stages_do(tmp_path):
    """The last stage alone may have been trained by the same settings."""

    def chained(name: str, seed: int, rate: float):
        evaluation = add(tmp_path, name, seed)
        first = tmp_path / "runs" / f"{name}-first"
        first.mkdir()
        (first / "config.yaml").write_text(f"train: {{learning_rate: {rate}}}\n")
        manifest = {"continues": {"run": first.name, "sha256": ""}}
        (tmp_path / "runs" / name / "manifest.json").write_text(json.dumps(manifest))
        return evaluation

    own = chained("a", 1, 1e-4)
    chained("b", 2, 1e-4)
    chained("c", 3, 2e-4)
    add(tmp_path, "alone", 4)
    assert list(find_seeds(tmp_path, own)) == [1, 2]
