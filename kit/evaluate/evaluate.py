"""Base against tuned on the same held-out prompts: answer, time, score, compare.

`evaluations/<id>/` holds the answers (`predictions.jsonl`, `latency.jsonl`), how likely the reference
answers were (`likelihood.jsonl`, where asked for), what a judge said (`judge.jsonl`, where there is one),
how the models were loaded (`loaded.json`), `scores.json`, and `evaluation.json`, which says from what all
this was made. The id names the run, the data and everything that shapes an answer; so a second call goes on
where the first stopped, and a changed policy or metric scores the same answers anew without generating them
again.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kit
from kit.config.errors import ConfigError, DataError, Problem
from kit.config.schema import Config, MetricUse
from kit.data.prepared import load_split
from kit.evaluate.calibration_scores import FILE as CONFIDENCE
from kit.evaluate.calibration_scores import METRICS as CALIBRATION
from kit.evaluate.calibration_scores import calibration_problems
from kit.evaluate.conditions import (
    Conditions,
    conditions,
    mismatches,
    read_golden,
    read_loaded,
    refuse_changed_base,
    refuse_mismatches,
)
from kit.evaluate.definitions import definitions
from kit.evaluate.general import General, load_general
from kit.evaluate.general_scores import general_scores
from kit.evaluate.harness import given_by, harness_scores, refuse_missing_harness
from kit.evaluate.judge import ReadyJudge, judge_answers, judge_hash, ready_judge
from kit.evaluate.judge_criteria import read_rubrics
from kit.evaluate.judge_scores import add_judge
from kit.evaluate.memorisation import MEMORISATION, find_secrets
from kit.evaluate.memorisation import NAME as MEMORISED
from kit.evaluate.metrics import LoadedMetric, load_metric
from kit.evaluate.perplexity import NAME as PERPLEXITY
from kit.evaluate.plan import Plan, measured_discordances, plan
from kit.evaluate.predictions import read_lines, read_predictions
from kit.evaluate.prompts import Prompt, choose, load_prompts
from kit.evaluate.scores import build_scores, settings_of
from kit.evaluate.vllm_engine import refuse_missing_vllm
from kit.files import sha256_file, sha256_json, write_json
from kit.hooks import Hooks

_METHOD = 8
"""Raised when scores are made otherwise from the same answers, so that old ones are made anew."""

TaskScore = Callable[[Any, Any], float]
"""(model, tokenizer) -> the task score on validation; higher is always better."""


def evaluate(
    config: Config,
    root: Path,
    prepared: Path,
    run: Path,
    hooks: Hooks,
    announce: Callable[[Plan], None] = lambda plan: None,
) -> Path:
    """Answer the test prompts with base and golden, score both, and compare.

    Args:
        config: settings whose `model` is the base that `run` started from.
        prepared: the prepared data's folder; its `test/` is asked.
        run: the run's folder; its `golden/` is the tuned system.
        announce: told what so many prompts could show, before the first is asked.

    Returns:
        The evaluation's folder. If it is there already and nothing changed, no work is done.

    Raises:
        ConfigError: a metric is unknown or its parameters do not fit; a judge's rubric or key is missing.
        DataError: there is no test row; a general set, a judge's labels or a rubric for it cannot be used.
        EndpointError: a judge's endpoint failed; what it answered is kept.
        InvalidRunError: base and tuned would answer under unlike conditions, the base is not the one the
            run started from, or there is no golden checkpoint (exit code 4). Broken answers are not an
            error here: they are scored, counted under `validity`, and make the report's verdict `invalid`.
    """
    from kit.evaluate.answers import answer

    metrics, judge = load_metrics(config, hooks, root), ready_judge(config, root)
    general = load_general(config, root, hooks)
    refuse_missing_harness(config.evaluate.harness, root)
    refuse_missing_vllm(config)
    prompts = choose(load_prompts(prepared / "test"), config.evaluate.max_prompts)
    if judge is not None and judge.settings.row_rubrics:
        read_rubrics(prompts)
    base_weights = refuse_changed_base(config, run)
    generation = _generation_settings(config, prepared, run, base_weights)
    folder = root / "evaluations" / f"{run.name}-{sha256_json(generation)[:8]}"
    record: dict[str, Any] = {
        "run": run.name,
        "generation": generation,
        "scoring": scoring_hash(config, root, hooks),
    }
    record |= {"answers": several} if (several := config.evaluate.sampling.answers) > 1 else {}
    if is_finished(folder, record):
        return folder
    base, tuned = _both_conditions(config, prompts, prepared, run, base_weights)
    refuse_mismatches(base, tuned, run)
    sizes = {each.settings.name: len(each.prompts) for each in general}
    announce(plan(config, metrics, prompts, measured_discordances(root, prepared.name), sizes))
    secrets = find_secrets(config, prepared) if asks_for(config, MEMORISED) else []
    questions = [prompt for each in general for prompt in each.prompts]
    answer(config, run, prompts, folder, root=root, general=questions, secrets=secrets)
    header = _header(config, root, prepared, run, folder, prompts, (base, tuned), hooks)
    scores = score_saved(config, metrics, general, judge, prompts, folder, header, prepared)
    write_json(folder / "scores.json", scores)
    write_json(folder / "evaluation.json", record)
    return folder


def _header(
    config: Config,
    root: Path,
    prepared: Path,
    run: Path,
    folder: Path,
    prompts: Sequence[Prompt],
    asked: tuple[Conditions, Conditions],
    hooks: Hooks,
) -> dict[str, Any]:
    """What `scores.json` says of an evaluation besides scores, once its answers are there.

    Args:
        asked: the conditions of base and tuned that were known before a model was loaded.
    """
    loaded, share = read_loaded(folder), synthetic_share(prompts, prepared)
    base, tuned = {**asked[0], **loaded["base"]}, {**asked[1], **loaded["tuned"]}
    return {
        "evaluation": folder.name,
        "run": run.name,
        "data": prepared.name,
        "date": datetime.now(UTC).date().isoformat(),
        "synthetic": share > 0,
        "synthetic_share": share,
        "conditions": {"base": base, "tuned": tuned, "mismatches": mismatches(base, tuned)},
        "definitions": definitions(config, root, hooks, _METHOD),
    }


def score_saved(
    config: Config,
    metrics: Sequence[LoadedMetric],
    general: Sequence[General],
    judge: ReadyJudge | None,
    prompts: Sequence[Prompt],
    folder: Path,
    header: dict[str, Any],
    prepared: Path,
) -> dict[str, Any]:
    """All of `scores.json`, from what the evaluation's folder holds and what a judge says of it.

    Args:
        general: the sets besides the case that were asked.
        prompts: those that were asked (`choose`).
        header: what is known without the answers, as for `build_scores`.
    """
    predictions = read_predictions(folder / "predictions.jsonl")
    latency = read_lines(folder / "latency.jsonl")
    likelihood = read_lines(folder / "likelihood.jsonl")
    memorisation = read_lines(folder / MEMORISATION)
    scores = build_scores(
        config,
        metrics,
        prompts,
        predictions,
        latency,
        header,
        likelihood,
        memorisation,
        prepared,
        read_lines(folder / CONFIDENCE),
    )
    scores["general"] = [*general_scores(config, general, predictions), *harness_scores(config, folder)]
    if judge is not None:
        judged = judge_answers(judge, config, prompts, predictions, folder)
        add_judge(scores, judged, prompts, settings_of(config))
    return scores


def task_scorer(config: Config, root: Path, prepared: Path, hooks: Hooks) -> TaskScore:
    """The function that scores a checkpoint while it trains: greedy answers to validation prompts.

    The score is the mean of the golden metric (`train.golden_metric`, else the first of
    `evaluate.metrics`) over `train.golden_prompts` prompts that it applies to, with the sign flipped
    where lower is better. Invalid answers get the metric's worst value.

    Raises:
        ConfigError: there is no metric to score with.
        DataError: no validation prompt can be scored by it.
    """
    from kit.evaluate.task_score import TaskScorer

    metric = _golden_metric(config, hooks, root)
    valid = load_prompts(prepared / "valid")
    prompts = choose(valid, config.train.golden_prompts, lambda prompt: metric.applies(prompt.reference))
    if not prompts:
        hint = "choose another `train.golden_metric`, or name the columns it needs in `data.expected`"
        problem = f"{metric.name} applies to none of the {len(valid)} validation rows"
        raise DataError(Problem(str(prepared / "valid"), problem, hint))
    return TaskScorer(config, prompts, metric)


def check_labels(config: Config, root: Path, prepared: Path, hooks: Hooks) -> None:
    """Refuse held-out rows that no answer could be right for, before anything is trained.

    Raises:
        ConfigError: a metric cannot be loaded.
        DataError: every label that a metric cannot score, with how many rows have it and the first of them.
    """
    found: dict[tuple[str, str], list[str]] = {}
    metrics = load_metrics(config, hooks, root)
    for split in ("valid", "test") if metrics else ():
        for row in load_split(prepared, split):
            reference = {**row.expected, "answer": row.answer}
            for metric in metrics:
                if reason := metric.unreachable(reference):
                    found.setdefault((metric.name, reason), []).append(f"{row.source}:{row.line}")
    if found:
        hint = "give the policy phrases for it, correct the rows, or take the metric out of evaluate.metrics"
        raise DataError(
            [
                Problem(places[0], f"{name}: {reason}; {len(places)} held-out rows have it", hint)
                for (name, reason), places in found.items()
            ]
        )


def asks_for(config: Config, metric: str) -> bool:
    """Whether `evaluate.metrics` names a metric."""
    return any(use.name == metric for use in config.evaluate.metrics)


def find_evaluation(root: Path, evaluation_id: str | None = None) -> Path:
    """An evaluation's folder by its id, or the newest finished one.

    Raises:
        ConfigError: there is no such evaluation.
    """
    evaluations = root / "evaluations"
    files = [path for name in ("reward.json", "scores.json") for path in evaluations.glob(f"*/{name}")]
    files.sort(key=lambda path: path.stat().st_mtime_ns)
    wanted = [path for path in files if evaluation_id in (None, path.parent.name)]
    if wanted and wanted[-1].name == "scores.json":
        return wanted[-1].parent
    if wanted:
        message = "is of a reward model, which gives no answers to report: what it measured is in reward.json"
        raise ConfigError(Problem(str(wanted[-1].parent), message, "evaluate a run that gives answers"))
    finished = [path.parent.name for path in files if path.name == "scores.json"]
    known = f"finished ones: {', '.join(finished)}" if finished else "there is none yet"
    what = f"no evaluation {evaluation_id!r}" if evaluation_id else "no evaluation"
    raise ConfigError(Problem(str(evaluations), what, f"{known}; make one with `casekit evaluate`"))


def run_of(root: Path, evaluation: Path) -> Path:
    """The folder of the run that an evaluation looked at.

    Raises:
        ConfigError: the run's folder is gone.
    """
    name = json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8"))["run"]
    run = root / "runs" / str(name)
    if not run.is_dir():
        raise ConfigError(Problem(str(run), "the evaluated run is gone", "evaluate another run"))
    return run


def load_metrics(config: Config, hooks: Hooks, root: Path) -> list[LoadedMetric]:
    """The metrics of `evaluate.metrics`, in their order.

    Raises:
        ConfigError: every one that is unknown or has parameters that do not fit, at once.
    """
    metrics, problems = [], []
    for use in config.evaluate.metrics:
        if use.name in CALIBRATION or (use.name in (PERPLEXITY, MEMORISED) and not use.params):
            continue  # not of answers to the prompts: measured while the model is there
        try:
            metrics.append(load_metric(use, hooks, root, config.languages))
        except ConfigError as error:
            problems += error.problems
    problems += [] if problems else calibration_problems(config, metrics)
    if problems:
        raise ConfigError(problems)
    return metrics


def _golden_metric(config: Config, hooks: Hooks, root: Path) -> LoadedMetric:
    uses = {use.name: use for use in config.evaluate.metrics}
    name = config.train.golden_metric or next(iter(uses), None)
    if name is None:
        hint = "name at least one metric in `evaluate.metrics`"
        raise ConfigError(Problem("evaluate.metrics", "no metric to pick the golden checkpoint by", hint))
    return load_metric(uses.get(name, MetricUse(name=name)), hooks, root, config.languages)


def is_finished(folder: Path, record: dict[str, Any]) -> bool:
    """Whether an evaluation was completed from exactly these inputs."""
    path = folder / "evaluation.json"
    if not (path.is_file() and (folder / "scores.json").is_file()):
        return False
    return bool(json.loads(path.read_text(encoding="utf-8")) == record)


def _generation_settings(config: Config, prepared: Path, run: Path, base_weights: str) -> dict[str, Any]:
    """Everything that the answers depend on."""
    from kit.models.loading import weights_sha256

    return {
        "run": run.name,
        "golden": sha256_json([read_golden(run), weights_sha256(run / "golden")])[:16],
        "data": prepared.name,
        "model": config.model.model_dump(mode="json"),
        "base": base_weights[:16],
        "method": config.method.model_dump(mode="json", include={"name", "double_quantization"}),
        "evaluate": shaping_settings(config),
        "seed": config.seed,
        "kit_version": kit.__version__,
    }


def shaping_settings(config: Config) -> dict[str, Any]:
    """The settings of `evaluate` that an answer depends on.

    How many are drawn to a prompt is none of them: with more the answers that are there stay.
    """
    shapes = {
        "max_prompts",
        "max_new_tokens",
        "batch_size",
        "sampling",
        "latency_prompts",
        "concurrency",
        "engine",
    }
    return config.evaluate.model_dump(mode="json", include=shapes, exclude={"sampling": {"answers"}})


def scoring_hash(config: Config, root: Path, hooks: Hooks) -> str:
    """A hash of everything that the scores depend on besides the answers."""
    uses = [use.model_dump() for use in config.evaluate.metrics]
    sets = [each.model_dump(mode="json") for each in config.evaluate.general]
    tasks = [[each.model_dump(mode="json"), given_by(each, root)] for each in config.evaluate.harness]
    every = [*uses, *(use for each in sets for use in each["metrics"])]
    given = [root / str(value) for use in every for value in use["params"].values() if isinstance(value, str)]
    given += [root / each["path"] for each in sets]
    files = [*sorted({path for path in given if path.is_file()}), *hooks.files]
    return sha256_json(
        {
            "metrics": uses,
            **({"general": sets} if sets else {}),
            **({"harness": tasks} if tasks else {}),
            "files": [sha256_file(path) for path in files],
            "languages": [config.languages, config.project.languages],
            "goodput": config.evaluate.model_dump(mode="json", include={"goodput"}),
            "method": _METHOD,
            "judge": judge_hash(config, root),
            "intervals": [config.evaluate.confidence, config.evaluate.bootstrap_draws],
        }
    )


def _both_conditions(
    config: Config, prompts: list[Prompt], prepared: Path, run: Path, base_weights: str
) -> tuple[Conditions, Conditions]:
    from kit.models.loading import is_adapter, load_tokenizer, weights_sha256

    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    golden_model = config.model.model_copy(update={"name": str(run / "golden"), "revision": None})
    golden = weights_sha256(run / "golden")
    adapter = golden if is_adapter(run / "golden") else None
    trained_on = manifest["data"]["fingerprint"]
    return (
        conditions(config, load_tokenizer(config.model), prompts, prepared.name, base_weights),
        conditions(config, load_tokenizer(golden_model), prompts, trained_on, golden, adapter),
    )


def synthetic_share(prompts: Sequence[Prompt], prepared: Path) -> float:
    """The share of the asked prompts whose source was made from a grammar, from 0 to 1."""
    summary = json.loads((prepared / "data.json").read_text(encoding="utf-8"))
    made = {source["name"] for source in summary["sources"] if source["synthetic"]}
    return sum(prompt.source in made for prompt in prompts) / len(prompts)
