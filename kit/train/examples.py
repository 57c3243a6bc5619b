"""Prepared rows as a stage learns from them: token ids, and which of them count."""

import json
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from kit.config.errors import DataError, Problem
from kit.config.schema import Config
from kit.config.schema_train import Stage
from kit.data.answers import render_answer, render_pair
from kit.data.length import dialogue_samples
from kit.data.preference import LABEL_STAGES, PAIR_STAGES
from kit.data.prepared import unpacked
from kit.data.render import Rendered
from kit.data.samples import kept_samples
from kit.train.prompts import prompts_of

Examples = list[dict[str, Any]]
"""Training rows as tokens, in the columns that the stage's trainer reads."""
Kept = list[Rendered] | None
"""The samples of a row as preparing has found and kept them; None where it has not."""
Row = dict[str, Any]
"""`messages` and `tools`; for a pair also `rejected`, the list of one answer; for kto also `label`; for grpo
`expected`, JSON text of what metrics read."""


def load_rows(prepared: Path, split: str, stage: Stage) -> list[Row]:
    """The rows of a prepared split that a stage learns from; none where there are none.

    Raises:
        DataError: `prepared` is not a prepared data folder, or was prepared for another stage.
    """
    table = _table(prepared, split, stage)
    if table is None:
        return []
    beside = ["rejected"] if stage in PAIR_STAGES else ["label"] if stage in LABEL_STAGES else []
    beside += ["expected"] if stage == "grpo" else []
    if missing := set(beside) - set(table.column_names):
        message = f"has no column {missing.pop()!r}, from which {stage} learns"
        where, hint = str(prepared / split), "prepare the data again with this `train.stage`"
        raise DataError(Problem(where, message, hint))
    needed = [name for name in ("messages", "tools", *beside) if name in table.column_names]
    return [unpacked(row) for row in table.select_columns(needed)]


def load_samples(prepared: Path, split: str, tokenizer: Any, config: Config) -> list[Kept]:
    """What preparing has found of the same rows: their samples, or None where `tokenise` is to find them.
    Empty for a stage that learns otherwise than from samples of dialogues and documents."""
    stage = config.train.stage
    table = _table(prepared, split, stage) if stage in ("sft", "pretrain") else None
    return [] if table is None else kept_samples(table, prepared, tokenizer, config)


def _table(prepared: Path, split: str, stage: Stage) -> Any:
    """The rows of a split that a stage learns from, a `datasets.Dataset`; None where the split is empty."""
    import datasets

    folder = prepared / split
    if not folder.is_dir():
        raise DataError(
            Problem(
                where=str(folder), message="is missing", hint="prepare the data with `casekit data prepare`"
            )
        )
    if not any(folder.glob("*.arrow")):  # an empty split is saved without a table, and does not load
        return None
    table = datasets.load_from_disk(str(folder))
    if "stages" in table.column_names:
        table = table.select([row for row, stages in enumerate(table["stages"]) if stage in stages])
    return table


def fingerprint_of(prepared: Path) -> str:
    """The fingerprint that `data.json` gives the prepared data."""
    summary = json.loads((prepared / "data.json").read_text(encoding="utf-8"))
    return str(summary["fingerprint"])


def tokenise(rows: list[Row], tokenizer: Any, config: Config, known: Sequence[Kept] = ()) -> Examples:
    """Token ids of every row, and what is learned of them.

    `sft` labels what the assistant says, `pretrain` all of it. `dpo` and `orpo` take the prompt and either
    answer apart, `reward` prompt and answer for either, `kto` prompt and answer.

    Args:
        known: for every row its samples where they are known already (`load_samples`); empty knows none.
    """
    most = config.model.max_length
    if config.train.stage == "grpo":
        return prompts_of(rows, tokenizer, config)
    if config.train.stage in PAIR_STAGES:
        pairs = [
            render_pair(row["messages"], row["rejected"][0], tokenizer, most, row.get("tools", ()))
            for row in rows
        ]
        if config.train.stage == "reward":
            return [{"chosen_ids": one.input_ids, "rejected_ids": other.input_ids} for one, other in pairs]
        return [
            {
                "prompt_ids": chosen.prompt_ids,
                "chosen_ids": chosen.completion_ids,
                "rejected_ids": rejected.completion_ids,
            }
            for chosen, rejected in pairs
        ]
    if config.train.stage in LABEL_STAGES:
        answers = [render_answer(row["messages"], tokenizer, most, row.get("tools", ())) for row in rows]
        return [
            {"prompt_ids": one.prompt_ids, "completion_ids": one.completion_ids, "label": row["label"]}
            for one, row in zip(answers, rows, strict=True)
        ]
    samples = [
        sample
        for row, kept in zip_longest(rows, known)
        for sample in kept or dialogue_samples(row["messages"], tokenizer, config, row.get("tools", ()))
    ]
    if config.train.stage == "pretrain":
        return [{"input_ids": sample.input_ids, "labels": sample.input_ids} for sample in samples]
    return [{"input_ids": sample.input_ids, "labels": sample.labels} for sample in samples]
