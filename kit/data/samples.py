"""Samples of prepared rows, kept beside them: the tokens, and which of them carry loss.

Preparing renders every row several times, to prove where its loss begins and ends. What it found is what
training would find again, so that neither a run nor a resumed one, a trial or a second process need do it
once more. Not kept is what depends on the stage: pairs, labelled answers, and dialogues cut into samples.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.config.schema import Config
from kit.data.fingerprint import tokenizer_hash
from kit.data.prepared import SAMPLES, load_summary
from kit.data.render import Rendered
from kit.data.rows import IGNORED, Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FIELDS = ("input_ids", "learned")
"""Of a sample: its tokens, and from which to which of them loss is, as places in turn (begin, end, begin, …;
an end is the first place after)."""
LIBRARIES = ("jinja2", "tokenizers", "transformers")
"""Those whose version may change the tokens of a text, or the text of a dialogue."""


def keep_samples(row: Row, samples: Sequence[Rendered]) -> None:
    """Set what is kept of a row's samples, if training on the row gives the same whatever the stage."""
    one_of_two = row.rejected is not None or row.label is not None
    if one_of_two or (row.tokens_before and len(samples) > 1):
        return
    row.kept = [
        {"input_ids": np.array(one.input_ids, "int32"), "learned": np.array(_learned(one), "int32")}
        for one in samples
    ]


def libraries() -> dict[str, str]:
    """The versions that samples were made with."""
    return {name: version(name) for name in LIBRARIES}


def kept_samples(
    table: Any, prepared: Path, tokenizer: "PreTrainedTokenizerBase", config: Config
) -> list[list[Rendered] | None]:
    """The samples of every row of a prepared table; None for a row that has to be rendered.

    Args:
        table: rows of a split of `prepared`, a `datasets.Dataset`.
        prepared: whose `data.json` says how they were made: tokens count if tokenizer, chat template, length
            and libraries are still the same.
    """
    if SAMPLES not in table.column_names or not _made_alike(load_summary(prepared), tokenizer, config):
        return [None] * len(table)
    return [row and [_rendered(sample) for sample in row] for row in table[SAMPLES]]


def _made_alike(summary: dict[str, Any], tokenizer: "PreTrainedTokenizerBase", config: Config) -> bool:
    return (
        summary.get("libraries") == libraries()
        and summary.get("settings", {}).get("max_length") == config.model.max_length
        and summary.get("tokenizer") == tokenizer_hash(tokenizer)
    )


def _learned(sample: Rendered) -> list[int]:
    """Places where loss begins and ends, in turn."""
    places, within = [], False
    for place, label in enumerate([*sample.labels, IGNORED]):
        if (label != IGNORED) != within:
            places.append(place)
            within = not within
    return places


def _rendered(sample: dict[str, list[int]]) -> Rendered:
    ids, places = sample["input_ids"], sample["learned"]
    labels = [IGNORED] * len(ids)
    for begin, end in zip(places[::2], places[1::2], strict=True):
        labels[begin:end] = ids[begin:end]
    return Rendered(ids, labels)
