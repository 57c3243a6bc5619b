"""What the data room passes around: records as they were found, rows, rejections."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kit.config.schema_train import Stage
from kit.files import sha256_json

Message = dict[str, Any]
"""`role` and `content`, both texts; what else there may be is told in `kit.data.tools`."""
Tool = dict[str, Any]
"""A function that the assistant may call: `{"type": "function", "function": its JSON schema}`."""
DOCUMENT = "document"
"""The role of plain text for pretraining: it stands alone, and carries loss on every token."""
IGNORED = -100
"""The label of a token that carries no loss; torch's cross entropy skips it."""

SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")


@dataclass(frozen=True)
class Record:
    """One record of a source: the value found at a line, or why there is none."""

    line: int
    """1-based line of a text file, else the 1-based number of the row."""
    value: dict[str, Any] | None
    problem: str = ""
    """Why the record could not be read; set exactly when `value` is None."""
    raw: str = ""
    """The unreadable text, shortened."""


@dataclass(slots=True)
class Row:
    """A dialogue and the columns that came with it."""

    source: str
    line: int
    messages: list[Message]
    fields: dict[str, Any]
    split: SplitName | None = None
    group: str = ""
    part: int = 0
    """The index of its source in `data.sources`."""
    tokens: int = 0
    """Length of the longest sample in tokens; this and the next two are set by rendering."""
    all_tokens: int = 0
    """Tokens of all samples; more than `tokens` where a dialogue becomes one sample a turn."""
    trained_tokens: int = 0
    """How many of `all_tokens` carry loss."""
    samples: int = 1
    """How many samples it is trained in; set by rendering, as the next is."""
    tokens_before: int = 0
    """Length in tokens before a too long dialogue was cut into samples or its prompt shortened."""
    tools: list[Tool] = field(default_factory=list)
    """The functions that its assistant may call."""
    rejected: Message | None = None
    """Of a pair: the answer that the last message was preferred to."""
    label: bool | None = None
    """Of an answer for kto: whether it is a good one."""
    stages: list[Stage] = field(default_factory=list)
    """Those that learn from it."""
    kept: list[dict[str, Any]] | None = None
    """Its samples, where they are kept for training (`kit.data.samples`)."""

    @property
    def id(self) -> str:
        """The same for the same messages and what stands beside them, in any file and any run."""
        beside = self.beside
        return sha256_json({"messages": self.messages, **beside} if beside else self.messages)[:16]

    @property
    def beside(self) -> dict[str, Any]:
        """The tools, the rejected answer of a pair, the label of an answer, by name; of these what it has."""
        found = {"tools": self.tools or None, "rejected": self.rejected, "label": self.label}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def for_hooks(self) -> dict[str, Any]:
        """The row as cleaners and checks of the project see it, the rejected answer as text if it is one."""
        is_text = self.rejected is not None and len(self.rejected) == 2
        rejected = {"rejected": self.rejected["content"]} if self.rejected and is_text else {}
        return {"messages": self.messages, **self.fields, **self.beside, **rejected}

    @property
    def said(self) -> list[Message]:
        """All messages, the rejected answer last."""
        return self.messages if self.rejected is None else [*self.messages, self.rejected]

    @property
    def where(self) -> str:
        return f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Rejection:
    """A record that was turned away: where it stands, which check, and why."""

    where: str
    check: str
    reason: str
    row: Any
    """What was found, as JSON values (a shortened text where it could not be read)."""


@dataclass
class SourceInfo:
    """Where rows came from, for the data's record."""

    name: str
    sha256: str | None
    """Of the file's bytes; null for a Hub dataset, whose revision is in the name."""
    format: str
    synthetic: bool
    kind: str = ""
    """Of file: `CSV`, `JSON Lines, .gz`; `Hub dataset`, `grammar`."""
    encoding: str | None = None
    """Of a text file."""
    columns: dict[str, str] = field(default_factory=dict)
    """The columns that the format uses: our name -> theirs."""
    others: list[str] = field(default_factory=list)
    """The other columns of its first records, under our names."""
    rows: int = 0
    left_out: int = 0
    """Sound rows that `max_rows` or `weight` leave out."""


def is_document(messages: Sequence[Message]) -> bool:
    """Whether the messages are one plain text instead of a dialogue."""
    return len(messages) == 1 and messages[0]["role"] == DOCUMENT


def reject(row: Row, check: str, reason: str) -> Rejection:
    """A rejection that shows the row as it would have been used."""
    return Rejection(row.where, check, reason, {"messages": row.messages, **row.fields, **row.beside})


def as_text(value: Any) -> str:
    """A column's value as groups and slices show it."""
    if value is None:
        return "(missing)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
