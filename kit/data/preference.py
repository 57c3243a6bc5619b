"""Preference data: pairs of a chosen and a rejected answer, and answers labelled good or bad.

A pair becomes the dialogue that ends with the chosen answer, and beside it the rejected one. So all that
looks at dialogues looks at pairs as well, and the reference answer of an evaluation is the chosen one.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from kit.config.errors import DataError, Problem
from kit.config.explain import shorten
from kit.config.schema_train import Stage
from kit.data.flags import flag_of
from kit.data.formats import CONVERTERS, Record
from kit.data.rows import Message
from kit.data.same import normal
from kit.data.tools import said

PAIR_STAGES: tuple[Stage, ...] = ("dpo", "orpo", "reward")
"""Stages that learn from pairs."""
LABEL_STAGES: tuple[Stage, ...] = ("kto",)
"""Stages that learn from labelled answers."""

Pair = tuple[list[Message], Message]
"""The dialogue with the chosen answer, and the rejected answer."""
Sided = Callable[[Record, str], list[Message]]
"""From a record and `chosen` or `rejected` to the dialogue that ends with that answer."""


def _explicit(record: Record, side: str) -> list[Message]:
    """TRL's form with a prompt: `prompt`, and the answers as texts or messages."""
    value = record.get(side)
    if not isinstance(value, list) or len(value) < 2:
        return _as("prompt_completion", {**record, "completion": value}, "completion", side)
    # Some sets name the prompt and repeat it in both dialogues; told twice, it must be the same.
    dialogue = _implicit(record, side)
    prompt = _as("prompt_completion", {**record, "completion": ""}, "completion", side)[:-1]
    if normal(prompt[-1]["content"]) not in [normal(turn["content"]) for turn in dialogue[:-1]]:
        raise ValueError(f"`prompt` is not asked in the dialogue of {side}")
    return dialogue


def _implicit(record: Record, side: str) -> list[Message]:
    """TRL's form without: whole dialogues, in OpenAI's or ShareGPT's words."""
    return _as("sharegpt", {**record, "conversations": record.get(side)}, "conversations", side)


def _sharegpt(record: Record, side: str) -> list[Message]:
    """LLaMA-Factory's form: `conversations`, and the answers as turns."""
    return [*_as("sharegpt", record, "", ""), *_answer(record.get(side), side)]


def _messages(record: Record, side: str) -> list[Message]:
    """The same in OpenAI's words: `messages`, and the answers as turns."""
    return [*_as("messages", record, "", ""), *_answer(record.get(side), side)]


def _alpaca(record: Record, side: str) -> list[Message]:
    """LLaMA-Factory's form of Alpaca: `instruction`, `input`, and the answers as texts."""
    return _as("alpaca", {**record, "output": record.get(side)}, "output", side)


def _answer(value: Any, side: str) -> list[Message]:
    """An answer as a text, a turn, or a list of turns."""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list):
        return _as("sharegpt", {"conversations": value}, "conversations", side)
    return _as("prompt_completion", {"prompt": "", "completion": value}, "completion", side)[1:]


def _as(format_name: str, record: Record, column: str, side: str) -> list[Message]:
    """Convert by one of the formats of dialogues; what it says of `column` is said of `side`."""
    try:
        return CONVERTERS[format_name][1](record)
    except ValueError as error:
        raise ValueError(str(error).replace(column, side) if column else str(error)) from error


PREFERENCE: dict[str, tuple[tuple[str, ...], Sided]] = {
    "preference": (("prompt", "chosen", "rejected"), _explicit),
    "preference_sharegpt": (("conversations", "chosen", "rejected"), _sharegpt),
    "preference_messages": (("messages", "chosen", "rejected"), _messages),
    "preference_alpaca": (("instruction", "chosen", "rejected"), _alpaca),
    "preference_implicit": (("chosen", "rejected"), _implicit),
}
"""Format -> the columns that show it, and its converter; detection tries them in this order."""


def convert_pair(record: Record, format_name: str) -> Pair:
    """A record of a preference format as a pair.

    Raises:
        ValueError: it does not fit the format, ends in no answer, or its dialogues differ before that.
    """
    dialogues = {side: PREFERENCE[format_name][1](record, side) for side in ("chosen", "rejected")}
    for side, turns in dialogues.items():
        if turns[-1]["role"] != "assistant":
            raise ValueError(f"{side} ends with the {turns[-1]['role']}'s turn, expected an answer")
    chosen, rejected = dialogues.values()
    before = [[(turn["role"], normal(said(turn))) for turn in turns[:-1]] for turns in (chosen, rejected)]
    if before[0] != before[1]:
        alike = [one == other for one, other in zip(*before, strict=False)]
        turn = alike.index(False) + 1 if False in alike else len(alike) + 1
        raise ValueError(
            f"chosen and rejected answer different prompts: their dialogues differ from turn {turn} on, "
            "and may differ in the last answer alone"
        )
    return chosen, rejected[-1]


def used_by(format_name: str, stages: Collection[Stage]) -> tuple[str, ...]:
    """The columns that are read for preferences alone: those of a format of pairs, and kto's label."""
    if format_name not in PREFERENCE:
        return ("label",) if set(stages) & set(LABEL_STAGES) else ()
    also = {"preference_alpaca": ("input", "system", "history")}.get(format_name, ("system",))
    return (*PREFERENCE[format_name][0], *also, "tools")


def detect_pairs(columns: Collection[str]) -> str | None:
    """The first preference format whose columns are all there."""
    return next((name for name, (needed, _) in PREFERENCE.items() if set(needed) <= set(columns)), None)


def refuse_for_stages(columns: Collection[str], format_name: str, stages: Sequence[Stage], name: str) -> None:
    """Refuse a source that has not what its stages learn from, before its rows are read.

    Args:
        columns: those of its first records, under our names.
        format_name: as it is named in the settings, or as the columns show it.
        stages: those that it may serve.

    Raises:
        DataError: pairs for a stage that learns from single answers, the reverse, or no labels for kto.
    """
    pairs, labels = set(stages) & set(PAIR_STAGES), set(stages) & set(LABEL_STAGES)
    stage = " and ".join(stages)
    if format_name in PREFERENCE and not pairs:
        message = f"holds pairs of `chosen` and `rejected` answers, and `train.stage` is {stage}"
        alone = "messages: chosen" if format_name == "preference_implicit" else "completion: chosen"
        hint = (
            f"set train.stage: {' or '.join(PAIR_STAGES)}; to learn the chosen answers alone, rename them "
            f"with `columns` ({alone})"
        )
        raise DataError(Problem(name, message, hint))
    if format_name not in PREFERENCE and len(pairs) == len(stages):
        message = f"holds single answers (format {format_name}), and `train.stage: {stage}` learns from pairs"
        hint = "bring rows with `chosen` and `rejected` (rename with `columns`), or set train.stage: sft"
        raise DataError(Problem(name, message, hint))
    if len(labels) == len(stages) and "label" not in columns:
        message = (
            f"has no column `label`, and `train.stage: {stage}` learns from answers labelled true or false"
        )
        hint = "name the column with `columns` (label: their_name), or set train.stage: sft"
        raise DataError(Problem(name, message, hint))


def beside(
    record: Record, fields: dict[str, Any], format_name: str, stages: Sequence[Stage]
) -> tuple[Message | None, bool | None]:
    """What stands beside a dialogue for its stages: the rejected answer of a pair, or the label.

    Args:
        record: as it was read, under our names.
        fields: its columns without the dialogue, from which the answers are taken out.
        format_name: one of our formats, or a reader of the project, which returns `rejected` or `label`.
        stages: those that its source may serve; where all need one of the two, it must be there.

    Raises:
        ValueError: it is missing or does not fit.
    """
    if format_name in PREFERENCE:
        fields.pop("chosen", None)
        fields.pop("rejected", None)
        return convert_pair(record, format_name)[1], None
    pairs, labels = set(stages) & set(PAIR_STAGES), set(stages) & set(LABEL_STAGES)
    if pairs and (len(pairs) == len(stages) or fields.get("rejected") is not None):
        return rejected_answer(fields.pop("rejected", None)), None
    if labels and (len(labels) == len(stages) or "label" in fields):
        return None, label_of(fields.get("label"))
    return None, None


def rejected_answer(value: Any) -> Message:
    """The `rejected` of a row that a project's own reader or cleaner returned: a text or one turn.

    Raises:
        ValueError: it is missing, or not one answer.
    """
    if value is None:
        raise ValueError("has no `rejected` answer beside the chosen one")
    turns = _answer(value, "rejected")
    if len(turns) != 1 or turns[0]["role"] != "assistant":
        raise ValueError(f"`rejected` must be one answer, found {shorten(value)}")
    return turns[0]


def label_of(value: Any) -> bool:
    """A label of KTO data: yes or no, in any spelling of `kit.data.flags`.

    Raises:
        ValueError: it is missing or something else.
    """
    try:
        label = flag_of(value)
    except ValueError as error:
        raise ValueError(f"label: {error}") from error
    if label is None:
        raise ValueError("no label: expected yes or no (or true, false, 1, 0)")
    return label
