"""Which held-out rows are asked, and what each brings along for the metrics."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.config.errors import DataError, Problem
from kit.data.prepared import load_split
from kit.data.render import prompt_ids
from kit.data.rows import Message, Tool

if TYPE_CHECKING:  # it brings `evaluate` and with it torch, for which a table in the terminal need not wait
    from kit.evaluate.item_metric import Reference


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
    source: str = ""
    """The file or dataset it came from, as `data.json` names it."""
    tools: list[Tool] = field(default_factory=list)
    """The functions that may be called."""
    thinks: bool = False
    """Whether the reference answer begins with reasoning: then the model is asked to, as in training."""
    line: int = 0
    """The 1-based line or row of `source`."""

    def ids(self, tokenizer: Any) -> list[int]:
        """The tokens that the model is given."""
        return prompt_ids(self.messages, tokenizer, self.tools, self.thinks)

    @property
    def conversation(self) -> str:
        """Which conversation it is a turn of: a group may hold several, which begin with other questions."""
        asked = [message["content"] for message in self.messages if message["role"] == "user"]
        return f"{self.group}\n{asked[0] if asked else ''}"

    @property
    def turn(self) -> int:
        """Which turn of its dialogue is asked, from 1 on."""
        asked = [message for message in self.messages if message["role"] == "user"]
        return max(1, len(asked))

    @property
    def reference(self) -> "Reference":
        """What metrics read: `expected`, with `answer` and `prompt` (the last user message)."""
        asked = [message["content"] for message in self.messages if message["role"] == "user"]
        return {**self.expected, "answer": self.answer, "prompt": asked[-1] if asked else ""}


def load_prompts(split: Path) -> list[Prompt]:
    """All dialogues of a prepared split (`test/` or `valid/`) as prompts; documents ask nothing, and an
    answer labelled bad is no reference to compare with.

    Raises:
        DataError: the split is missing, empty, or holds nothing to ask.
    """
    if not (split / "dataset_info.json").is_file():
        raise DataError(Problem(str(split), "no such split", "make it with `casekit data prepare`"))
    # Written without a shard, an empty split cannot be read back.
    rows = load_split(split.parent, split.name) if list(split.glob("*.arrow")) else []
    if not rows:
        hint = f"raise `data.split.{split.name}`, or mark rows for it with `data.split.column`"
        raise DataError(Problem(str(split), f"the {split.name} split is empty: nothing to evaluate on", hint))
    asked = [row for row in rows if row.prompt and row.label is not False]
    if not asked and any(row.prompt for row in rows):
        hint = f"answers labelled true are the references; add some with `split: {split.name}`"
        raise DataError(
            Problem(str(split), f"every answer of the {split.name} split is labelled false", hint)
        )
    if not asked:
        hint = (
            f"add dialogues with `split: {split.name}`; a run on documents alone has `evaluate.metrics: []`, "
            "`train.golden_metric: null` and keeps the checkpoint of the least validation loss"
        )
        raise DataError(Problem(str(split), f"the {split.name} split holds documents only", hint))
    return [
        Prompt(
            id=row.id,
            messages=row.prompt,
            expected=row.expected,
            slices=row.slices,
            group=row.group,
            answer=row.answer,
            source=row.source,
            tools=row.tools,
            thinks=row.thinks,
            line=row.line,
        )
        for row in asked
    ]


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
