"""Prepared data on disk, for the stages that read it: `data/prepared/<fingerprint>/`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.config.errors import DataError, Problem
from kit.config.schema import Config
from kit.data.rows import SPLITS, Message, Tool
from kit.data.tools import said
from kit.hooks import Hooks

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


_PREPARE = "run: casekit data prepare (and the same key=value words, if any)"


@dataclass(frozen=True)
class PreparedRow:
    """One row of a prepared split."""

    id: str
    messages: list[Message]
    """System (optional) first, then user and assistant in turn, after tool calls what they gave; an assistant
    message last.
    """
    tools: list[Tool]
    """The functions that the assistant may call."""
    expected: dict[str, Any]
    """Labels and facts for metrics; null where the row's source had none."""
    slices: dict[str, str]
    """Slice column -> the row's value, as text."""
    group: str
    source: str
    line: int
    rejected: Message | None = None
    """Of a pair: the answer that the last message was preferred to."""
    label: bool | None = None
    """Of an answer for kto: whether it is a good one."""
    stages: list[str] = field(default_factory=list)
    """The stages that learn from it."""

    @property
    def prompt(self) -> list[Message]:
        """What evaluation asks: everything before the last assistant message."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The reference answer: the last assistant message, of a pair the chosen one, without its reasoning;
        its calls, if it makes some, as JSON, one a line.
        """
        return said(self.messages[-1])

    @property
    def thinks(self) -> bool:
        """Whether the last assistant message has reasoning, and is asked for as one that has."""
        return "reasoning_content" in self.messages[-1]


def prepared_folder(root: Path, fingerprint: str) -> Path:
    """Where data with this fingerprint lies, whether it exists or not."""
    return root / "data" / "prepared" / fingerprint


def find_prepared(
    config: Config,
    root: Path,
    hooks: Hooks,
    tokenizer: "PreTrainedTokenizerBase",
    began: Path | None = None,
) -> Path:
    """The prepared data of the project as it is now.

    Args:
        began: the prepared folder that a run began on, which it must still be.

    Raises:
        DataError: it was never prepared, or its data, settings or tokenizer changed since, or since the run
            began; what did is named.
    """
    from kit.data.fingerprint import fingerprint

    folder = prepared_folder(root, fingerprint(config, root, hooks, tokenizer))
    if folder.is_dir() and began in (None, folder):
        return folder
    if began is not None and (began / "data.json").is_file():
        from kit.data.changed import what_changed

        changed = "; ".join(what_changed(load_summary(began), config, root, tokenizer))
        message = f"is what the run began on, and this changed since: {changed}"
        raise DataError(Problem(str(began), message, "restore it, or start a new run: casekit data prepare"))
    if problems := never_prepared(root):
        raise DataError(problems)
    from kit.data.changed import what_changed

    others = _sets(root)
    changed = "; ".join(what_changed(load_summary(others[-1].parent), config, root, tokenizer))
    raise DataError(Problem(str(others[-1].parent), f"was prepared before this changed: {changed}", _PREPARE))


def never_prepared(root: Path) -> list[Problem]:
    """What there is to say of a project whose data was never prepared; nothing of another."""
    where = str(root / "data" / "prepared")
    return [] if _sets(root) else [Problem(where, "the data was not prepared yet", _PREPARE)]


def _sets(root: Path) -> list[Path]:
    """The `data.json` of every prepared folder, the latest last."""
    found = (root / "data" / "prepared").glob("[!.]*/data.json")
    return sorted(found, key=lambda file: file.stat().st_mtime_ns)


def load_split(folder: Path, name: str) -> list[PreparedRow]:
    """The rows of a split of a prepared folder, in file order.

    Args:
        folder: as `prepare` or `find_prepared` returned it.
        name: `train`, `valid` or `test`.

    Raises:
        DataError: there is no such split, or it cannot be read.
    """
    return [_row(row) for row in load_table(folder, name)]


def load_rows(folder: Path, name: str, numbers: Sequence[int]) -> list[PreparedRow]:
    """Some rows of a split, by their numbers from 0, without reading the others.

    Raises:
        DataError: there is no such split, or it cannot be read.
    """
    table = load_table(folder, name) if numbers else []
    return [_row(table[number]) for number in numbers]


def load_table(folder: Path, name: str) -> "Dataset":
    """A split as it lies on disk, memory-mapped, without the tokens that training reads.

    Raises:
        DataError: there is no such split, or it cannot be read.
    """
    if name not in SPLITS:
        raise DataError(f"there is no split {name!r}; the splits are {', '.join(SPLITS)}")
    from datasets import load_from_disk

    try:
        table = load_from_disk(str(folder / name))
    except (OSError, ValueError) as error:
        raise DataError(
            Problem(str(folder / name), f"cannot be read: {error}", "delete the folder and prepare again")
        ) from error
    return table.remove_columns([SAMPLES]) if SAMPLES in table.column_names else table


SAMPLES = "samples"
"""The column of the samples that are kept of a row (`kit.data.samples`)."""


def _row(row: dict[str, Any]) -> PreparedRow:
    row = unpacked(row)
    (rejected,) = row.get("rejected") or [None]
    texts = {name: json.loads(row[name]) for name in ("expected", "slices")}
    return PreparedRow(**{**row, **texts, "rejected": rejected})


MESSAGE_COLUMNS = ("role", "content", "reasoning_content", "tool_calls", "name", "tool_call_id")
"""What a prepared message consists of; null where it has none. `tool_calls` is JSON text, as are a row's
`tools`: arguments and schemas have no columns that fit every row.
"""


def packed(messages: Sequence[Message]) -> list[dict[str, str | None]]:
    """Messages as they are prepared."""
    return [
        {
            name: json_or_none(message.get(name)) if name == "tool_calls" else message.get(name)
            for name in MESSAGE_COLUMNS
        }
        for message in messages
    ]


def unpacked(row: dict[str, Any]) -> dict[str, Any]:
    """A prepared row with its messages and tools as they were before they were written."""
    dialogues = {name: row[name] for name in ("messages", "rejected") if row.get(name)}
    messages = {name: [_message(message) for message in dialogue] for name, dialogue in dialogues.items()}
    return {**row, **messages, "tools": json.loads(row.get("tools") or "[]")}


def _message(columns: dict[str, str | None]) -> Message:
    return {
        name: json.loads(value) if name == "tool_calls" else value
        for name, value in columns.items()
        if value is not None
    }


def json_or_none(value: Any) -> str | None:
    """JSON text; null for what is missing or empty."""
    return json.dumps(value, ensure_ascii=False) if value else None


def load_summary(folder: Path) -> dict[str, Any]:
    """`data.json` of a prepared folder: sources, rows in and out, checks, lengths, slices.

    Raises:
        DataError: the folder holds no readable `data.json`.
    """
    path = folder / "data.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            Problem(str(path), f"cannot be read: {error}", "run: casekit data prepare")
        ) from error
    return summary
