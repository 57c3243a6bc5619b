"""A reward model on held-out pairs: how often it scores the better answer higher, and how far to trust it.

`evaluations/<id>/` holds `pairs.jsonl` (a line a pair) and `reward.json`. There are no answers and so no
`scores.json`: whatever asks a model for answers has nothing to ask here, and says so.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
from kit.config.errors import ConfigError, DataError, Problem
from kit.config.schema import Config
from kit.data.answers import render_pair
from kit.data.prepared import PreparedRow, load_split
from kit.data.rows import Message
from kit.evaluate.compare import NOTHING, explore
from kit.evaluate.conditions import refuse_changed_base
from kit.evaluate.entry import compared_entry
from kit.evaluate.scores import settings_of
from kit.evaluate.statistics import wilson
from kit.files import new_folder, sha256_json, write_json, write_lines

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SYSTEMS = {"base": "longer answer wins", "tuned": "reward model"}
"""What is compared: the rule that anybody could follow, and the run's golden checkpoint."""
BINS = 5
"""Of the stated probability, from one half to one."""

Line = dict[str, Any]


def evaluate_reward(config: Config, prepared: Path, run: Path, root: Path) -> Path:
    """Score the test split's pairs with a run's golden reward model; the evaluation's folder.

    At most `evaluate.max_prompts` pairs, chosen by content hash. Done before with the same weights and
    settings, it is not done again.

    Raises:
        DataError: the test split has no pair.
        InvalidRunError: the base is not the one that the run started from (exit code 4).
        ModelError: there is no golden checkpoint.
    """
    from kit.models.loading import load_tokenizer, load_tuned, weights_sha256
    from kit.train.reward import reward_gaps

    base = refuse_changed_base(config, run)
    chosen = choose_pairs(load_split(prepared, "test"), config.evaluate.max_prompts)
    if not chosen:
        hint = "raise `data.split.test`, or mark pairs for it with `data.split.column`"
        raise DataError(Problem(str(prepared / "test"), "the test split has no pair", hint))
    record = {
        "run": run.name,
        "data": prepared.name,
        "base": base,
        "golden": weights_sha256(run / "golden"),
        "settings": config.evaluate.model_dump(
            mode="json", include={"max_prompts", "confidence", "bootstrap_draws"}
        ),
        "kit_version": kit.__version__,
    }
    folder = root / "evaluations" / f"{run.name}-{sha256_json(record)[:8]}"
    if (folder / "reward.json").is_file():
        return folder
    tokenizer = load_tokenizer(config.model)
    pairs = [_tokens(row, rejected, tokenizer, config) for row, rejected in chosen]
    model = load_tuned(run / "golden", config)
    gaps = reward_gaps(model, tokenizer, pairs, config.train.per_device_eval_batch_size)
    lines = [
        {
            "id": row.id,
            "group": row.group,
            "slices": row.slices,
            "margin": gap,
            "chosen_tokens": len(pair["chosen_ids"]),
            "rejected_tokens": len(pair["rejected_ids"]),
        }
        for (row, _), pair, gap in zip(chosen, pairs, gaps, strict=True)
    ]
    with new_folder(folder) as temporary:
        write_lines(
            temporary / "pairs.jsonl", (json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        )
        write_json(temporary / "reward.json", {"schema": 1, **record, **judge_pairs(lines, config)})
    return folder


def choose_pairs(rows: Sequence[PreparedRow], most: int) -> list[tuple[PreparedRow, Message]]:
    """Pairs as a reward model learns from, each with its rejected answer: at most so many, the same ones
    whatever their order.
    """
    pairs = [(row, row.rejected) for row in rows if row.rejected is not None and "reward" in row.stages]
    return sorted(pairs, key=lambda pair: pair[0].id)[:most]


def _tokens(
    row: PreparedRow, rejected: Message, tokenizer: "PreTrainedTokenizerBase", config: Config
) -> dict[str, list[int]]:
    sides = render_pair(row.messages, rejected, tokenizer, config.model.max_length, row.tools)
    return {"chosen_ids": sides[0].input_ids, "rejected_ids": sides[1].input_ids}


def judge_pairs(lines: Sequence[Line], config: Config) -> dict[str, Any]:
    """Everything of `reward.json` that follows from the pairs.

    `pairwise_accuracy` has the form of an entry of `scores.json`: the share of pairs decided rightly by the
    rule that the longer answer wins (`base`) and by the model (`tuned`), a tie being wrong, with Wilson's
    intervals (wider where pairs share groups), their paired difference, and all this by slice.

    Args:
        lines: of `pairs.jsonl`.

    Raises:
        ValueError: there are none.
    """
    settings = settings_of(config)
    longer = [float(line["chosen_tokens"] > line["rejected_tokens"]) for line in lines]
    right = [float(line["margin"] > 0) for line in lines]
    entry = compared_entry(
        (longer, right),
        [line["group"] for line in lines],
        [line["slices"] for line in lines],
        settings,
        name="pairwise_accuracy",
        label="Pairs decided rightly",
        about="agreement",
        kind="rate",
        higher_is_better=True,
    )
    if entry is None:
        raise ValueError("no pairs to judge")
    explore([entry], settings.confidence)
    against = [line for line in lines if line["chosen_tokens"] < line["rejected_tokens"]]
    return {
        "pairs": len(lines),
        "confidence": settings.confidence,
        "systems": SYSTEMS,
        "pairwise_accuracy": entry,
        "chosen_shorter": _share(against, settings.confidence),
        "ties": {
            "base": sum(line["chosen_tokens"] == line["rejected_tokens"] for line in lines),
            "tuned": sum(line["margin"] == 0 for line in lines),
        },
        "calibration": _calibration(lines, settings.confidence),
    }


def _share(lines: Sequence[Line], confidence: float) -> dict[str, Any]:
    """How often the model is right on these pairs; nulls where there are none."""
    n = len(lines)
    if not n:
        return {"n": 0, **NOTHING}
    return {"n": n, **vars(wilson(sum(line["margin"] > 0 for line in lines), n, confidence))}


def _calibration(lines: Sequence[Line], confidence: float) -> dict[str, Any]:
    """Whether margins mean what the loss takes them for: by Bradley and Terry (1952) the answer that is
    scored higher by m is the better one with probability 1 / (1 + exp(-m)).

    `error` is the expected calibration error: the mean distance of that probability from the share that was
    right, over bins weighed by their pairs (Naeini et al. 2015).
    """
    bins: list[list[tuple[float, Line]]] = [[] for _ in range(BINS)]
    for line in lines:
        stated = 1 / (1 + math.exp(-min(abs(line["margin"]), 50.0)))
        bins[min(int((stated - 0.5) * 2 * BINS), BINS - 1)].append((stated, line))
    found = []
    for number, members in enumerate(bins):
        mean = sum(probability for probability, _ in members) / len(members) if members else None
        share = _share([line for _, line in members], confidence)
        found.append({"from": 0.5 + number / (2 * BINS), "stated": mean, **share})
    error = sum(one["n"] * abs(one["stated"] - one["estimate"]) for one in found if one["n"]) / len(lines)
    return {"error": error, "bins": found}


def refuse_reward_model(config: Config, run: Path) -> None:
    """Refuse to ask a reward model for answers.

    Raises:
        ConfigError: the run made one.
    """
    if config.train.stage == "reward":
        hint = "`casekit evaluate` measures it on held-out pairs; name another run with --run to get answers"
        raise ConfigError(Problem(str(run), "made a reward model, which scores answers and gives none", hint))
