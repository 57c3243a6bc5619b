"""A dialogue as the model sees it, with the tokens that carry loss told apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from kit.data.prepared import PreparedRow
from kit.data.render import render
from kit.data.rows import IGNORED, Message, Tool

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


def pieces(
    messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase", tools: Sequence[Tool] = ()
) -> list[list[Piece]]:
    """The training samples of a dialogue, each as runs of tokens with and without loss.

    Raises:
        DataError: the chat template cannot express the dialogue.
    """
    samples = []
    for sample in render(messages, tokenizer, _NO_LIMIT, tools):
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
    samples = pieces(row.messages, tokenizer, row.tools)
    for number, sample in enumerate(samples, start=1):
        trained = sum(piece.tokens for piece in sample if piece.trained)
        total = sum(piece.tokens for piece in sample)
        part = f", sample {number} of {len(samples)}" if len(samples) > 1 else ""
        text.append(f"{row.source}:{row.line}{part}: {total} tokens, {trained} with loss\n", style="bold")
        for piece in sample:
            text.append(piece.text, style="bold green" if piece.trained else "dim")
        text.append("\n" if number == len(samples) else "\n\n")
    for column, value in row.expected.items():
        text.append(f"{column}: {value}\n", style="cyan")
    return text
