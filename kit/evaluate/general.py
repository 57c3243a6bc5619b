"""What the base could do besides the case: general sets, on which tuning must not cost more than a margin.

Tuned models forget (Biderman et al. 2024, arXiv:2405.09673, for LoRA as well). That nothing was lost is
shown by non-inferiority: the interval of tuned minus base must rule out a loss of the margin. No
significant difference is not enough, for with few questions nothing is significant.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError, DataError, Problem
from kit.config.schema import Config, GeneralSet
from kit.data.formats import detect
from kit.data.opening import File
from kit.data.read import Reader, renamed
from kit.data.records import open_file
from kit.data.rows import Record, Rejection, Row
from kit.data.same import key
from kit.data.stages import ReadFor
from kit.data.tools import said
from kit.evaluate.bootstrap import fewest_clusters
from kit.evaluate.gate_kinds import rules_out_loss
from kit.evaluate.metrics import LoadedMetric, load_metric
from kit.evaluate.prompts import Prompt, choose
from kit.hooks import Hooks

_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class General:
    """A general set with its questions read and its metrics loaded."""

    settings: GeneralSet
    prompts: list[Prompt]
    metrics: list[LoadedMetric]


def load_general(config: Config, root: Path, hooks: Hooks) -> list[General]:
    """The sets of `evaluate.general`, in their order.

    Raises:
        ConfigError: a metric is unknown or its parameters do not fit.
        DataError: a file cannot be read, or a row of it; all such problems at once.
    """
    loaded: list[General] = []
    problems: list[Problem] = []
    unfit: list[Problem] = []
    for settings in config.evaluate.general:
        metrics = []
        for use in settings.metrics:
            try:
                metrics.append(load_metric(use, hooks, root, config.languages))
            except ConfigError as error:
                where = f"evaluate.general: {settings.name}"
                unfit += [replace(problem, where=where) for problem in error.problems]
        try:
            prompts = choose(_read(settings, config, root, hooks), settings.max_prompts)
        except DataError as error:
            problems += error.problems
            continue
        loaded.append(General(settings, prompts, metrics))
    if unfit:
        raise ConfigError(unfit)
    if problems:
        raise DataError(problems)
    return loaded


def kept(
    difference: dict[str, Any], higher_is_better: bool, margin: float, groups: int, confidence: float
) -> str:
    """Whether a score was kept: `kept`, `lost` or `not shown`.

    Kept is where the interval of tuned minus base rules out a loss of `margin`; lost, where it is a loss
    from end to end. So few questions that no test could come out show neither, though equal answers to them
    have an interval without width.
    """
    if groups < fewest_clusters(confidence):
        return "not shown"
    if rules_out_loss(difference, higher_is_better, margin):
        return "kept"
    is_loss = difference["high"] < 0 if higher_is_better else difference["low"] > 0
    return "lost" if is_loss else "not shown"


def _read(settings: GeneralSet, config: Config, root: Path, hooks: Hooks) -> list[Prompt]:
    path = root / settings.path
    if not path.is_file():
        hint = "mend the path in evaluate.general"
        raise DataError(Problem(settings.path, f"no such file under {root.resolve()}", hint))
    records = list(open_file(File(path, settings.path)).records)
    columns = {column for record in records for column in renamed(record.value or {}, settings.columns)}
    name = detect(columns | {"completion"})
    if name is None:
        message = f"no known format has the columns {', '.join(sorted(map(str, columns)))}"
        hint = "name the one with the question, such as columns: {prompt: question, completion: answer}"
        raise DataError(Problem(settings.path, message, hint))
    # A dialogue is read as one whatever stage the case trains.
    reader = Reader(settings.path, 0, name, settings.columns, "test", ReadFor(("sft",)))
    data = config.data.model_copy(update={"system_prompt": settings.system_prompt})
    as_dialogue = config.model_copy(update={"data": data})
    rows = [reader.row(_with_answer(record, settings), as_dialogue, hooks) for record in records]
    problems = [Problem(row.where, row.reason) for row in rows if isinstance(row, Rejection)]
    problems += [
        Problem(row.where, "ends in no answer", "a question, and its answer, if only an empty one")
        for row in rows
        if isinstance(row, Row) and row.messages[-1]["role"] != "assistant"
    ]
    if problems:
        left = len(problems) - _MOST_PROBLEMS
        more = [Problem(settings.path, f"… and {left} more rows that cannot be asked")] if left > 0 else []
        raise DataError([*problems[:_MOST_PROBLEMS], *more])
    return _distinct([_prompt(row) for row in rows if isinstance(row, Row)])


def _with_answer(record: Record, settings: GeneralSet) -> Record:
    """With an empty answer where a question stands alone."""
    value = record.value
    if value is None or "completion" in renamed(value, settings.columns):
        return record
    return Record(record.line, {**value, "completion": ""})


def _prompt(row: Row) -> Prompt:
    return Prompt(
        id=row.id,
        messages=row.messages[:-1],
        expected=row.fields,
        slices={},
        group=key(row.messages[:-1]),
        answer=said(row.messages[-1]),
        source=row.source,
        tools=row.tools,
    )


def _distinct(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Each once. Those that ask the same and have other references are one group, hence one witness."""
    found = {prompt.id: prompt for prompt in prompts}
    return list(found.values())
