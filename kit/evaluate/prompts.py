"""Which held-out rows are asked, and what each brings along for the metrics."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.config.errors import DataError, Problem
from kit.evaluate.item_metric import Reference

Message = dict[str, str]


@dataclass(frozen=True)
class Prompt:
    """One held-out dialogue up to, not including, its last assistant message."""

    id: str
    messages: list[Message]
    expected: dict[str, Any]
    """Labels and facts for metrics."""
    slices: dict[str, str]
    group: str
    answer: str = ""
    """The reference answer: the dialogue's last assistant message."""

    @property
    def reference(self) -> Reference:
        """What metrics read: `expected`, with `answer` and `prompt` (the last user message)."""
        asked = [message["content"] for message in self.messages if message["role"] == "user"]
        return {**self.expected, "answer": self.answer, "prompt": asked[-1] if asked else ""}


def load_prompts(split: Path) -> list[Prompt]:
    """All rows of a prepared split (`test/` or `valid/`) as prompts.

    Raises:
        DataError: the split is missing or empty.
    """
    import datasets

    if not (split / "dataset_info.json").is_file():
        raise DataError(Problem(str(split), "no such split", "make it with `casekit data prepare`"))
    if not list(split.glob("*.arrow")):  # datasets writes an empty split, but cannot read it back
        hint = f"raise `data.split.{split.name}`, or mark rows for it with `data.split.column`"
        raise DataError(Problem(str(split), f"the {split.name} split is empty: nothing to evaluate on", hint))
    return [_prompt(row) for row in datasets.load_from_disk(str(split))]


def _prompt(row: dict[str, Any]) -> Prompt:
    messages = [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
    return Prompt(
        id=row["id"],
        messages=messages[:-1],
        expected=json.loads(row["expected"] or "{}"),
        slices={name: str(value) for name, value in json.loads(row["slices"] or "{}").items()},
        group=row["group"],
        answer=messages[-1]["content"],
    )


def choose(
    prompts: Sequence[Prompt], most: int, wanted: Callable[[Prompt], bool] = lambda prompt: True
) -> list[Prompt]:
    """At most `most` of the wanted prompts, always the same ones whatever their order.

    The content's hash decides (it is the row's id). One prompt of every group comes first, then second
    ones: prompts of one group are not independent, and the fewer share a group the more they show.
    """
    nth_of_group: Counter[str] = Counter()
    ranked = []
    for prompt in sorted(filter(wanted, prompts), key=lambda prompt: prompt.id):
        ranked.append((nth_of_group[prompt.group], prompt.id, prompt))
        nth_of_group[prompt.group] += 1
    chosen = sorted(ranked, key=lambda entry: entry[:2])[:most]
    return sorted((prompt for *_, prompt in chosen), key=lambda prompt: prompt.id)
