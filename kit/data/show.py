"""A dialogue as the model sees it, with the tokens that carry loss told apart."""

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from kit.data.answers import AnyRow, render_row
from kit.data.prepared import PreparedRow
from kit.data.rows import IGNORED

if TYPE_CHECKING:
    from rich.text import Text
    from transformers import PreTrainedTokenizerBase

_NO_LIMIT = 10**9


@dataclass(frozen=True)
class Piece:
    """A run of tokens, all with loss or all without."""

    text: str
    trained: bool
    tokens: int


def pieces(row: AnyRow, tokenizer: "PreTrainedTokenizerBase") -> list[list[Piece]]:
    """The training samples of a row, each as runs of tokens with and without loss; see `render_row`.

    Raises:
        DataError: the chat template cannot express the dialogue.
    """
    samples = []
    for sample in render_row(row, tokenizer, _NO_LIMIT):
        runs = groupby(
            zip(sample.input_ids, sample.labels, strict=True), key=lambda token: token[1] != IGNORED
        )
        sample_pieces = []
        for trained, tokens in runs:
            ids = [token_id for token_id, _ in tokens]
            sample_pieces.append(Piece(str(tokenizer.decode(ids)), trained, len(ids)))
        samples.append(sample_pieces)
    return samples


def show(row: PreparedRow, tokenizer: "PreTrainedTokenizerBase") -> "Text":
    """A prepared row for the terminal: tokens with loss in bold green, the others dim."""
    from rich.text import Text

    text = Text()
    samples = pieces(row, tokenizer)
    for number, sample in enumerate(samples, start=1):
        trained = sum(piece.tokens for piece in sample if piece.trained)
        total = sum(piece.tokens for piece in sample)
        part = f", {title(row, number, len(samples))}" if len(samples) > 1 else ""
        text.append(f"{row.source}:{row.line}{part}: {total} tokens, {trained} with loss\n", style="bold")
        for piece in sample:
            text.append(piece.text, style="bold green" if piece.trained else "dim")
        text.append("\n" if number == len(samples) else "\n\n")
    if row.label is not None:
        text.append(f"label: {str(row.label).lower()}\n", style="cyan")
    for column, value in row.expected.items():
        text.append(f"{column}: {value}\n", style="cyan")
    return text


def title(row: AnyRow, number: int, count: int) -> str:
    """What a sample is called beside the others of its row."""
    if row.rejected is not None:
        return "chosen" if number == 1 else "rejected"
    return f"sample {number} of {count}"
