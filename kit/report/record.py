"""What a report records of itself, so that it can be made again and compared: `casekit verify`.

`report.json` names by their hashes the files it was made from (`inputs`) and the files beside it (`faces`);
`settings.json` holds the settings it was made by, `items.jsonl` every prompt's scores without any text.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import kit
from kit.config.gates import Gate
from kit.config.schema import Config
from kit.evaluate.contract import SCHEMA
from kit.files import sha256_file, sha256_text
from kit.report.baseline import Baseline
from kit.report.judgement import Judgement, report_json
from kit.report.read import Json
from kit.report.reviews import Carried, output_sha256, reviews_json
from kit.report.sources import Sources
from kit.report.view import Verdict
from kit.train.runs import runs_before


@dataclass(frozen=True)
class Beside:
    """What a report is made of besides its own evaluation."""

    baseline: Baseline | None
    reviews: Sequence[Carried]
    by_seed: Mapping[int, Json]
    """Scores of the runs that differ by the training seed only, this one's among them; or empty."""


@dataclass(frozen=True)
class Made:
    """A report that is not written yet: its files by name, its `report.json` and its verdict."""

    texts: dict[str, str]
    report: Json
    verdict: Verdict


def recorded_json(
    sources: Sources,
    found: Json,
    judged: Judgement,
    beside: Beside,
    seed_factor: list[Json],
    texts: Mapping[str, str],
) -> Json:
    """The contents of `report.json` (`kit.report.contract`).

    Args:
        found: the contents of `scores.json`.
        texts: the report's other files, by name.
    """
    from kit.train.manifest import code_sha256

    return {
        **report_json(found, judged, seed_factor),
        "schema": SCHEMA,
        "seed_evaluations": [scores["evaluation"] for scores in beside.by_seed.values()],
        "baseline": judged.held.as_json() if judged.held else None,
        "reviews": reviews_json(beside.reviews),
        "made_with": {"kit_version": kit.__version__, "kit_sha256": code_sha256(Path(kit.__file__).parent)},
        "inputs": {name: sha256_file(path) for name, path in input_files(sources).items()},
        "faces": {name: sha256_text(text) for name, text in texts.items()},
    }


def input_files(sources: Sources) -> dict[str, Path]:
    """Every file that a report comes from, by its path in the project: answers, times, the run's record and
    tokenizer, training and test rows, general sets, what metrics read (a policy, the project's hooks), and a
    judge's rubric and labels.

    The weights are not among them: they may lie elsewhere, and their hash stands in the conditions, where
    `kit.report.verify` holds them against it.
    """
    files = [path for path in sorted(sources.evaluation.rglob("*")) if path.suffix in (".json", ".jsonl")]
    of_runs = ("config.yaml", "manifest.json", "metrics.jsonl")
    files += [run / name for run in (sources.run, *runs_before(sources.run)) for name in of_runs]
    files += [path for path in sorted((sources.run / "golden").glob("*")) if path.suffix not in _WEIGHTS]
    files.append(sources.prepared / "data.json")
    files += [path for split in ("train", "test") for path in sorted((sources.prepared / split).rglob("*"))]
    files += _read_by_metrics(sources)
    root = sources.root.resolve()
    there = [path.resolve() for path in files if path.is_file()]
    return {
        path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path): path for path in there
    }


_WEIGHTS = {".safetensors"}


def _read_by_metrics(sources: Sources) -> Iterable[Path]:
    from kit.evaluate.metrics import metric_names
    from kit.hooks import load_hooks

    asked = sources.config.evaluate
    uses = [*asked.metrics, *(use for each in asked.general for use in each.metrics)]
    yield from (sources.root / each.path for each in asked.general)
    if asked.judge is not None:
        named = (asked.judge.rubric.file, asked.judge.labels)
        yield from (sources.root / name for name in named if name is not None)
    yield from sorted(
        {sources.root / value for use in uses for value in use.params.values() if isinstance(value, str)}
    )
    if {use.name for use in uses} - set(metric_names()):
        yield from load_hooks(sources.root).files


def items_text(items: Sequence[Json]) -> str:
    """`items.jsonl`: a line a prompt, with the hash of every answer in place of its text.

    A later report is held against it (`--baseline`), and nobody's words lie in it.
    """
    lines = []
    for item in items:
        line = {"id": item["id"]}
        for decoding in ("greedy", "sampled"):
            if decoding in item:
                line[decoding] = {system: _scored(answer) for system, answer in item[decoding].items()}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    return "".join(lines)


def _scored(answer: Json) -> Json:
    return {
        "output_sha256": output_sha256(answer["output"]),
        "invalid": answer["invalid"],
        "scores": answer["scores"],
        "counts": answer["counts"],
    }


def settings_text(config: Config, recipe_gates: Sequence[Gate]) -> str:
    """`settings.json`: the settings that a report was made by, and the recipe's own gates."""
    gates = [gate.model_dump(mode="json") for gate in recipe_gates]
    return json_text({"config": config.model_dump(mode="json"), "recipe_gates": gates})


def json_text(value: Json) -> str:
    """Indented JSON with a line feed at its end."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
