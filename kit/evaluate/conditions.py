"""The conditions both systems answered under, and where they differ: unlike conditions prove nothing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.config.errors import InvalidRunError, Problem
from kit.config.schema import Config
from kit.evaluate.prompts import Prompt
from kit.files import sha256_json

Conditions = dict[str, Any]

_MUST_AGREE = {
    "system_prompt": "the system prompt",
    "chat_template": "the chat template",
    "vocabulary": "the tokenizer's vocabulary",
    "stop_tokens": "the tokens that end an answer",
    "prompts": "the prompts' tokens",
    "decoding": "the decoding",
    "data": "the prepared data",
}


def conditions(
    config: Config, tokenizer: Any, prompts: Sequence[Prompt], data: str, weights: str
) -> Conditions:
    """Everything that shapes an answer besides the weights, hashes shortened to 16 digits.

    Args:
        data: the fingerprint of the prepared data the system belongs to.
        weights: the sha256 that tells which weights these are; the one thing that may differ.
    """
    from kit.data.render import prompt_ids, stop_ids
    from kit.models.loading import device, dtype

    on = device(config.hardware)
    asked = {prompt.id: prompt_ids(prompt.messages, tokenizer) for prompt in prompts}
    decoding = config.evaluate.model_dump(mode="json", include={"max_new_tokens", "batch_size", "sampling"})
    return {
        "weights": weights[:16],
        "system_prompt": _short(config.data.system_prompt),
        "chat_template": _short(tokenizer.chat_template),
        "vocabulary": _short(tokenizer.get_vocab()),
        "stop_tokens": stop_ids(tokenizer),
        "prompts": _short(asked),
        "data": data,
        "decoding": {**decoding, "seed": config.seed},
        "dtype": str(dtype(config.model, on)).removeprefix("torch."),
        "device": on.type,
    }


def mismatches(base: Conditions, tuned: Conditions) -> list[str]:
    """Each condition that differs between the systems, in words."""
    return [f"{words} differs" for key, words in _MUST_AGREE.items() if base[key] != tuned[key]]


def refuse_mismatches(base: Conditions, tuned: Conditions, run: Path) -> None:
    """Stop before any answer is made if the systems would not be compared like with like.

    Raises:
        InvalidRunError: all conditions that differ (exit code 4).
    """
    problems = [
        Problem(
            where=str(run),
            message=f"base and tuned cannot be compared: {words}",
            hint="evaluate with the settings, data and tokenizer of the run, or train again with today's",
        )
        for words in mismatches(base, tuned)
    ]
    if problems:
        raise InvalidRunError(problems)


def read_golden(run: Path) -> dict[str, Any]:
    """`golden.json` of a run: step, metric and score of its golden checkpoint.

    Raises:
        InvalidRunError: the run has none.
    """
    path = run / "golden" / "golden.json"
    if not path.is_file():
        hint = "it is written at a run's first evaluation; finish the run with `casekit train --resume`"
        raise InvalidRunError(Problem(str(run), "the run has no golden checkpoint", hint))
    golden: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return golden


def _short(value: Any) -> str:
    return sha256_json(value)[:16]
