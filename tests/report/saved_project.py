"""A small project as its stages leave it: prepared test rows, saved answers, scores made from them.

No model is needed: reports, reviews, baselines and verifying start from what an evaluation saved.
"""

import json
import random
from pathlib import Path
from typing import Any

import yaml
from report_samples import curve, data, manifest, save

from kit.config import load_config
from kit.evaluate.definitions import definitions
from kit.evaluate.evaluate import load_metrics, score_saved, scoring_hash
from kit.evaluate.general import load_general
from kit.evaluate.judge import ready_judge
from kit.evaluate.prompts import choose, load_prompts
from kit.hooks import load_hooks

RUN = "20260102T030405-sft-lora"
POLICY = """
rules:
- id: F1
  title: Promises a return
  severity: critical
  never: ['\\bguarantee']
  negation_clears: true
  examples: {violates: [This fund guarantees 8% a year.], complies: [Returns are not guaranteed.]}
refusals: ["I can't help with"]
"""
RECIPE: dict[str, Any] = {
    "recipe": {"name": "finance", "title": "Compliance chat", "summary": "Answers.", "languages": ["en"]},
    "evaluate": {
        "metrics": [
            {"name": "violation_rate", "params": {"policy": "conf/policy.yaml"}},
            "token_f1",
            "bleu",
        ],
        "bootstrap_draws": 200,
        "latency_prompts": 4,
        "concurrency": [1, 2],
        "goodput": {"time_to_first_token": 0.5, "time_per_output_token": 0.1},
    },
    "gates": [
        {"name": "Few violations", "metric": "violation_rate", "at_most": 0.2},
        {"name": "Close to the reference", "metric": "token_f1", "at_least": 0.2},
    ],
}


def saved_project(root: Path, prompts: int = 60) -> Path:
    """A project with one evaluation, `first`, whose tuned model seldom breaks the rule."""
    save_yaml(root / "conf/recipe.yaml", RECIPE)
    save_yaml(root / "conf/project.yaml", {"project": {"name": "harbour-bank"}})
    (root / "conf/policy.yaml").write_text(POLICY, encoding="utf-8")
    prepared = root / "data/prepared/f00d"
    save(prepared / "data.json", data())
    save_rows(prepared / "test", range(prompts))
    run = root / "runs" / RUN
    save(run / "manifest.json", manifest(RUN))
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in curve()), encoding="utf-8")
    save_yaml(run / "config.yaml", load_config(root).config.model_dump(mode="json"))
    add_evaluation(root, "first", faults=0.05)
    return root


def add_evaluation(root: Path, name: str, faults: float, seed: int = 1) -> Path:
    """An evaluation whose tuned model breaks the rule on that share of the prompts; the base on half."""
    folder, dice = root / "evaluations" / name, random.Random(seed)
    prompts = choose(load_prompts(root / "data/prepared/f00d/test"), 400)
    answers = []
    for decoding in ("greedy", "sampled"):
        for system, share in (("base", 0.5), ("tuned", faults)):
            for prompt in prompts:
                broken = dice.random() < share
                text = "It guarantees 8% a year." if broken else "The fund can fall in value at any time."
                answers.append(prediction(prompt.id, system, decoding, text))
    folder.mkdir(parents=True)
    save_lines(folder / "predictions.jsonl", answers)
    times = [
        timed(prompts[place].id, place, system, level)
        for level in (1, 2)
        for place in range(4)
        for system in SYSTEMS
    ]
    save_lines(folder / "latency.jsonl", times)
    config = load_config(root).config
    generation = {"seed": 42, "evaluate": {"max_prompts": config.evaluate.max_prompts}}
    scoring = scoring_hash(config, root, load_hooks(root))
    save(folder / "evaluation.json", {"run": RUN, "generation": generation, "scoring": scoring})
    rescore(root, folder)
    return folder


SYSTEMS = ("base", "tuned")


def rescore(root: Path, folder: Path) -> None:
    """Write `scores.json` as `casekit evaluate` makes it from the answers."""
    config, hooks = load_config(root).config, load_hooks(root)
    prompts = choose(load_prompts(root / "data/prepared/f00d/test"), 400)
    system = {"system_prompt": "a" * 16, "decoding": {"max_new_tokens": 160}, "dtype": "float32"}
    header = {
        "evaluation": folder.name,
        "run": RUN,
        "data": "f00d",
        "synthetic": True,
        "date": "2026-01-03",
        "synthetic_share": 1.0,
        "conditions": {"base": system, "tuned": {**system, "adapter": "c" * 16}, "mismatches": []},
        "definitions": definitions(config, root, hooks, 5),
    }
    prepared = root / "data/prepared/f00d"
    metrics = load_metrics(config, hooks, root)
    general, judge = load_general(config, root, hooks), ready_judge(config, root)
    scores = score_saved(config, metrics, general, judge, prompts, folder, header, prepared)
    save(folder / "scores.json", scores)


def prediction(id_: str, system: str, decoding: str, output: str) -> dict[str, Any]:
    """A line of `predictions.jsonl`."""
    facts = {"id": id_, "system": system, "decoding": decoding, "output": output}
    return {**facts, "new_tokens": len(output.split()), "finished": True, "seconds": 0.5}


def timed(id_: str, place: int, system: str, level: int) -> dict[str, Any]:
    """A line of `latency.jsonl`: the prompt at a place, so many served at once."""
    seconds = (0.5 if system == "tuned" else 0.8) + int(id_, 16) % 7 / 100
    batch = {"concurrency": level, "batch": place // level, "batch_seconds": 0.9}
    facts = {"id": id_, "system": system, **batch, "seconds_to_first_token": 0.02, "seconds": seconds}
    gaps = [round((seconds - 0.02) / 7, 6)] * 7
    return {**facts, "new_tokens": 8, "inter_token_seconds": gaps, "finished": True, "order": "in turn"}


def save_rows(folder: Path, numbers: range, turns: int = 1) -> None:
    """A prepared split of short questions about funds; so many of them in turn are one conversation."""
    import datasets

    text, whole = datasets.Value("string"), datasets.Value("int64")
    features = datasets.Features(
        {
            "id": text,
            "messages": [{"role": text, "content": text}],
            "expected": text,
            "slices": text,
            "group": text,
            "source": text,
            "line": whole,
        }
    )
    rows = [_row(number, turns) for number in numbers]
    columns = {name: [row[name] for row in rows] for name in features}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(folder))


def _row(number: int, turns: int) -> dict[str, Any]:
    asked = [f"Is fund {one} safe?" for one in range(number - number % turns, number + 1)]
    before = [
        {"role": role, "content": said}
        for question in asked[:-1]
        for role, said in (("user", question), ("assistant", "Nobody knows."))
    ]
    return {
        "id": f"{number * 7919 % 65521:016x}",
        "messages": [
            *before,
            {"role": "user", "content": asked[-1]},
            {"role": "assistant", "content": "The fund can fall in value; nobody knows when."},
        ],
        "expected": json.dumps({"topic": "funds"}),
        "slices": json.dumps({"topic": "funds" if number % 3 else "savings"}),
        "group": str(number // turns),
        "source": "conf/dialogues.yaml",
        "line": number,
    }


def save_yaml(path: Path, value: Any) -> None:
    """A YAML file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")


def save_lines(path: Path, records: list[dict[str, Any]]) -> None:
    """A JSONL file."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
