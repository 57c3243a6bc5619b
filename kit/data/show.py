"""A dialogue as the model sees it, token by token, with the tokens that carry loss told apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.config.schema import Config
from kit.data.answers import AnyRow
from kit.data.length import samples_of
from kit.data.rows import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HALF = "\ufffd"  # what the first bytes of a character decode to


@dataclass(frozen=True)
class Piece:
    """A run of tokens, all with loss or all without."""

    units: list[str]
    """Its text token by token; tokens that share a character, as bytes do, are one unit."""
    trained: bool
    tokens: int

    @property
    def text(self) -> str:
        return "".join(self.units)


def pieces(row: AnyRow, tokenizer: "PreTrainedTokenizerBase", config: Config) -> list[list[Piece]]:
    """The training samples of a row, each as runs of tokens with and without loss; see `samples_of`.

    Raises:
        DataError: the row does not fit, or the chat template cannot express it.
    """
    return [
        list(_pieces(sample.input_ids, [label != IGNORED for label in sample.labels], tokenizer))
        for sample in samples_of(row, tokenizer, config)
    ]


def _pieces(ids: list[int], trained: list[bool], tokenizer: "PreTrainedTokenizerBase") -> Iterator[Piece]:
    start = 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) or trained[end] != trained[start]:
            yield Piece(list(_units(ids, start, end, tokenizer)), trained[start], end - start)
            start = end


def _units(ids: list[int], start: int, end: int, tokenizer: "PreTrainedTokenizerBase") -> Iterator[str]:
    """The texts of `ids[start:end]`. Each is what the text grows by, decoded after the token before: alone,
    many tokenizers drop the space that a token begins with.
    """
    before = max(start - 1, 0)
    for position in range(start + 1, end + 1):
        known = _decoded(ids[before:start], tokenizer)
        grown = _decoded(ids[before:position], tokenizer)
        whole = len(grown) > len(known) and not grown.endswith(_HALF)
        if whole or position == end:
            yield grown[len(known) :]
            before, start = start, position


def _decoded(ids: list[int], tokenizer: "PreTrainedTokenizerBase") -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def title(row: AnyRow, number: int, count: int) -> str:
    """What a sample is called beside the others of its row."""
    if row.rejected is not None:
        return "chosen" if number == 1 else "rejected"
    return f"sample {number} of {count}"
