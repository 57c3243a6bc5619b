"""Rows in the terminal: a prepared row token by token, and a rejected one as it was found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from kit.config import Config
from kit.data.lookup import Place
from kit.data.rows import Rejection
from kit.data.show import Piece, pieces, title
from kit.report.formatting import visible

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BRACKETS = ("⟪⟫", "⦗⦘", "⧼⧽", "⸨⸩")
_BORDER = "│"


@dataclass(frozen=True)
class Look:
    """How tokens are told apart."""

    colour: bool
    """Whether colours are seen; without them brackets stand round what carries loss."""
    tokens: bool
    """Whether to show where each token ends."""


def rows_text(
    places: Sequence[Place], tokenizer: "PreTrainedTokenizerBase", config: Config, look: Look
) -> Text:
    """Prepared rows, below a legend: tokens with loss in bold green or in brackets.

    Raises:
        DataError: the chat template cannot express a dialogue.
    """
    shown = [(place, pieces(place.row, tokenizer, config)) for place in places]
    brackets = "" if look.colour else _brackets([piece for _, row in shown for one in row for piece in one])
    text = _legend(brackets, look)
    for place, samples in shown:
        for number, sample in enumerate(samples, start=1):
            text.append(_title(place, samples, number), style="bold")
            for piece in sample:
                _append(text, piece, brackets, look)
            text.append("\n")
        if place.row.label is not None:
            text.append(f"label: {str(place.row.label).lower()}\n", style="cyan")
        for column, value in place.row.expected.items():
            text.append(f"{visible(column)}: {visible(str(value))}\n", style="cyan")
    text.rstrip()
    return text


def _brackets(shown: Sequence[Piece]) -> str:
    """A pair that the text itself does not hold."""
    return next(
        (pair for pair in _BRACKETS if not any(mark in piece.text for piece in shown for mark in pair)),
        _BRACKETS[-1],
    )


def _legend(brackets: str, look: Look) -> Text:
    legend = Text()
    if brackets:
        legend.append(f"{brackets[0]}trained on{brackets[1]}: carries loss; the rest is only read")
    else:
        legend.append("bold green", style="bold green")
        legend.append(": carries loss; ")
        legend.append("dim", style="dim")
        legend.append(": only read")
    return legend.append(f"; {_BORDER}: where a token ends\n" if look.tokens else "\n")


def _title(place: Place, samples: Sequence[Sequence[Piece]], number: int) -> str:
    sample = samples[number - 1]
    total = sum(piece.tokens for piece in sample)
    trained = sum(piece.tokens for piece in sample if piece.trained)
    where = f"{place.split} {place.number}, {visible(place.row.source)}:{place.row.line}, id {place.row.id}"
    part = f", {title(place.row, number, len(samples))}" if len(samples) > 1 else ""
    return f"\n{where}{part}: {total} tokens, {trained} with loss\n"


def _append(text: Text, piece: Piece, brackets: str, look: Look) -> None:
    units = [visible(unit) for unit in piece.units]
    inside = _BORDER.join(units) if look.tokens else "".join(units)
    if piece.trained:
        opened, closed = brackets[:1], brackets[1:]
        text.append(f"{opened}{inside}{closed}", style="bold green")
    else:
        text.append(inside, style="dim")
    if look.tokens:
        text.append(_BORDER, style="dim")


def rejection_text(rejections: Sequence[Rejection]) -> Text:
    """Rejected rows: where, by which check and why, then the row as `rejected.jsonl` has it."""
    text = Text()
    for rejection in rejections:
        text.append("\n" if text else "")
        text.append(f"{visible(rejection.where)}: rejected by the check {rejection.check}\n", style="bold")
        text.append(f"{visible(rejection.reason)}\n\n", style="red")
        text.append(visible(_found(rejection.row)))
        text.append("\n")
    text.rstrip()
    return text


def _found(row: Any) -> str:
    if isinstance(row, str):
        return row
    fields = dict(row) if isinstance(row, dict) else {"row": row}
    messages = fields.pop("messages", None)
    turns = messages if isinstance(messages, list) else [] if messages is None else [messages]
    columns = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join([*map(_spoken, turns), *columns])


def _spoken(message: Any) -> str:
    if isinstance(message, dict) and set(message) == {"role", "content"}:
        return f"{message['role']}: {message['content']}"
    return json.dumps(message, ensure_ascii=False)
