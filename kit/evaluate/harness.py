"""Tasks of EleutherAI's lm-evaluation-harness on the two systems of an evaluation.

The harness asks and scores; what it found for every single question is kept (`harness.jsonl`), and base and
tuned are compared on the same questions as everywhere in the kit. The harness's own comparison of two runs
is unpaired (lm-evaluation-harness #3831).
"""

import logging
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError, DataError, Problem
from kit.config.schema import Config, HarnessTask
from kit.evaluate.compare import Settings, compare
from kit.evaluate.entry import metric_entry
from kit.evaluate.general import kept
from kit.evaluate.predictions import Line, read_lines
from kit.evaluate.timing import SYSTEMS
from kit.files import sha256_file, sha256_json


def answered_file(folder: Path, task: HarnessTask, config: Config, system: str) -> Path:
    """Where a system's answers to a task as it is set are kept in an evaluation's folder."""
    identity = sha256_json([task.model_dump(mode="json"), config.seed, config.model.max_length])[:8]
    name = re.sub(r"[^\w.-]", "_", task.name)
    return folder / "harness" / f"{name}-{identity}-{system}.jsonl"


def is_given(path: Path, task: HarnessTask, root: Path) -> bool:
    """Whether a file holds what a system made of a task as it is today, by the harness that is installed."""
    first = next(iter(read_lines(path)), None)
    return first is not None and first["given"] == given_by(task, root)


def given_by(task: HarnessTask, root: Path) -> str:
    """A hash of the harness's version and of the files of a task of one's own."""
    own = sorted((root / task.include_path).rglob("*")) if task.include_path else []
    files = {str(path.relative_to(root)): sha256_file(path) for path in own if path.is_file()}
    return sha256_json([version("lm_eval") if find_spec("lm_eval") else "", files])[:16]


def refuse_missing_harness(tasks: Sequence[HarnessTask], root: Path) -> None:
    """Refuse tasks that cannot be given, before anything is loaded.

    Raises:
        ConfigError: the harness is not installed, or a folder of tasks is not there.
    """
    if tasks and find_spec("lm_eval") is None:
        hint = 'install it: pip install "casekit[harness]"; or empty evaluate.harness'
        raise ConfigError(Problem("evaluate.harness", "needs lm-evaluation-harness", hint))
    gone = [task for task in tasks if task.include_path and not (root / task.include_path).is_dir()]
    if gone:
        raise ConfigError(
            [
                Problem(f"evaluate.harness: {task.name}", f"no such folder: {task.include_path}", "mend it")
                for task in gone
            ]
        )


def give_task(
    model: Any, tokenizer: Any, task: HarnessTask, config: Config, root: Path, system: str
) -> list[Line]:
    """Give a system a task.

    Args:
        model: a causal language model in evaluation mode, answering as `system`.

    Returns:
        `{"system", "task", "id", "metric", "value", "higher_is_better", "version", "given"}` for every
        question and every metric that has a value for single questions.

    Raises:
        DataError: the task is unknown, or its data cannot be had.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    served = HFLM(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=config.evaluate.batch_size,
        device=str(next(model.parameters()).device),
        max_length=config.model.max_length,
    )
    own = str(root / task.include_path) if task.include_path else None
    try:
        found = simple_evaluate(
            model=served,
            tasks=[task.name],
            num_fewshot=task.num_fewshot,
            limit=task.limit,
            task_manager=TaskManager(include_path=own),
            apply_chat_template=True,
            bootstrap_iters=0,
            random_seed=config.seed,
            numpy_random_seed=config.seed,
            torch_random_seed=config.seed,
            fewshot_random_seed=config.seed,
        )
    except (OSError, ValueError, KeyError) as error:
        hint = "check the name with `lm-eval ls tasks`; offline, give its data as files (include_path)"
        message = f"the task cannot be given: {type(error).__name__}: {error}"
        raise DataError(Problem(f"evaluate.harness: {task.name}", message, hint)) from error
    given = given_by(task, root)
    return [{**line, "given": given} for line in _lines(found, task.name, system)]


def harness_scores(config: Config, folder: Path) -> list[dict[str, Any]]:
    """For every task an entry as general sets have it (`kit.evaluate.general_scores`).

    Args:
        folder: the evaluation's, with both systems' answers.
    """
    settings = Settings(config.evaluate.confidence, config.evaluate.bootstrap_draws, config.seed)
    return [
        _scores_of(
            task,
            [line for system in SYSTEMS for line in read_lines(answered_file(folder, task, config, system))],
            settings,
        )
        for task in config.evaluate.harness
    ]


def _lines(found: Any, task: str, system: str) -> Iterator[Line]:
    """Of a group of tasks the questions of all its parts, each told apart by its part."""
    for part, samples in found["samples"].items():
        better = found["higher_is_better"].get(part, {})
        for sample in samples:
            for metric in sample["metrics"]:
                value = sample.get(metric)
                # A figure of all answers together, such as perplexity, has tuples or texts here.
                if isinstance(value, bool | int | float) or getattr(value, "ndim", None) == 0:
                    yield {
                        "system": system,
                        "task": task,
                        "id": f"{part}:{sample['doc_id']}",
                        "metric": metric if sample["filter"] == "none" else f"{metric} ({sample['filter']})",
                        "value": float(value),
                        "higher_is_better": bool(better.get(metric, True)),
                        "version": version("lm_eval"),
                    }


def _scores_of(task: HarnessTask, lines: Sequence[Line], settings: Settings) -> dict[str, Any]:
    named = list(dict.fromkeys(line["metric"] for line in lines))
    entries = [
        _entry(task, metric, [line for line in lines if line["metric"] == metric], settings)
        for metric in named
    ]
    why = "the harness has no value for single questions, so that nothing can be compared in pairs"
    unscored = [] if entries else [{"name": task.name, "label": task.name, "decoding": "greedy", "why": why}]
    return {
        "name": task.name,
        "path": f"lm-evaluation-harness {lines[0]['version'] if lines else ''}".strip(),
        "prompts": len({line["id"] for line in lines}),
        "margin": task.margin,
        "invalid": {},
        "metrics": entries,
        "unscored": unscored,
    }


def _entry(task: HarnessTask, metric: str, lines: Sequence[Line], settings: Settings) -> dict[str, Any]:
    values = {(line["system"], line["id"]): line["value"] for line in lines}
    ids = sorted({line["id"] for line in lines})
    base, tuned = ([values.get((system, id_)) for id_ in ids] for system in SYSTEMS)
    kind: Any = "rate" if set(values.values()) <= {0.0, 1.0} else "score"
    better = lines[0]["higher_is_better"]
    compared = compare(base, tuned, ids, kind=kind, higher_is_better=better, settings=settings)
    assert compared is not None  # noqa: S101  # both systems were given the same questions
    entry = metric_entry(
        name=metric,
        label=metric,
        about="agreement",
        kind=kind,
        higher_is_better=better,
        compared=compared.as_json(),
    )
    return {
        **entry,
        "kept": kept(entry["difference"], better, task.margin, entry["groups"], settings.confidence),
    }
