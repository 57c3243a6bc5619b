"""The training example nearest to a prompt: what the model may have had in mind.

Looked for when the report is made, for the prompts it shows only. Near is meant as in `kit.data.near`: the
Jaccard index of the pieces of four letters, of the last question of each. It says where two questions are
alike, not that they mean the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kit.report.formatting import count, number, shortened
from kit.report.view_evidence import Nearest

if TYPE_CHECKING:
    from datasets import Dataset

    from kit.data.rows import Message

MOST_ROWS = 50_000
"""Training rows that are looked at, evenly chosen of more: some ten seconds."""
MOST_PROMPTS = 200
"""Prompts that it is looked for; the later ones have none."""
COMPARED = 2_000
"""Characters of a question that count."""
SHOWN = 600
"""Characters of a training example's question and answer that are shown."""

_BATCH = 1_000


@dataclass(frozen=True)
class Found:
    """The nearest training examples by prompt id, and what they were looked for in."""

    by_id: Mapping[str, Nearest]
    note: str


@dataclass
class _Best:
    """The likeliest row so far; of equally alike ones the first."""

    similarity: float = 0.0
    row: int = -1


def find_nearest(prepared: Path, prompts: Mapping[str, str]) -> Found:
    """The nearest row of the training split for each of some prompts.

    Args:
        prepared: the folder of the prepared data.
        prompts: the last question by prompt id, in the order in which the report shows them.

    Returns:
        Personal data in the examples is shortened as in `data.html`. Without a training split on disk, or
        without prompts, there are none and the note says why.
    """
    if not prompts:
        return Found({}, "")
    if not (prepared / "train").is_dir():
        return Found({}, f"No nearest training example is shown: {prepared.name}/train is no longer there.")
    from kit.data.prepared import load_table

    table = load_table(prepared, "train")
    wanted = dict(islice(prompts.items(), MOST_PROMPTS))
    places = _places(len(table))
    best = _search(table, places, list(wanted.values()))
    found = {name: _nearest(table, one) for name, one in zip(wanted, best, strict=True) if one.row >= 0}
    looked = f"{count(len(places))} of {count(len(table))}" if len(places) < len(table) else count(len(table))
    whose = "each" if len(wanted) == len(prompts) else f"each of the first {count(MOST_PROMPTS)}"
    return Found(
        found,
        f"With {whose} stands the training example, out of {looked}, whose question is most like its own "
        "(1 means the same words).",
    )


def _places(rows: int) -> Sequence[int]:
    """The numbers of the rows that are looked at."""
    step = -(-rows // MOST_ROWS) or 1
    return range(0, rows, step)


def _search(table: "Dataset", places: Sequence[int], questions: Sequence[str]) -> list[_Best]:
    """The nearest of some rows for each question.

    Shared pieces are counted for all questions at once: a row of `shares` says in which questions a piece
    stands.
    """
    import numpy as np

    from kit.data.near import pieces

    asked = [pieces(question[:COMPARED]) for question in questions]
    known: dict[str, int] = {}
    for piece in (piece for of_one in asked for piece in sorted(of_one)):
        known.setdefault(piece, len(known))
    shares = np.zeros((len(known), len(asked)), dtype=np.uint8)
    for place, of_one in enumerate(asked):
        shares[[known[piece] for piece in of_one], place] = 1
    sizes = np.array([len(of_one) for of_one in asked])
    best, row_of = np.zeros(len(asked)), np.full(len(asked), -1)
    for row, question in _questions(table, places):
        of_row = pieces(question[:COMPARED])
        met = [known[piece] for piece in of_row if piece in known]
        if not met:
            continue
        shared = shares[met].sum(axis=0, dtype=np.int64)
        alike = shared / (sizes + len(of_row) - shared)
        better = alike > best
        best[better], row_of[better] = alike[better], row
    return [_Best(float(one), int(row)) for one, row in zip(best, row_of, strict=True)]


def _questions(table: "Dataset", places: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Row numbers with the last thing the user said there; rows without are left out."""
    for start in range(0, len(places), _BATCH):
        numbers = places[start : start + _BATCH]
        dialogues = table[list(numbers)]["messages"]
        for row, messages in zip(numbers, dialogues, strict=True):
            asked = [message["content"] for message in messages if message["role"] == "user"]
            if asked:
                yield row, asked[-1]


def _nearest(table: "Dataset", best: _Best) -> Nearest:
    from kit.data.personal import redact_all
    from kit.data.prepared import unpacked

    row = unpacked(table[best.row])
    messages: list[Message] = redact_all(row["messages"])
    asked = [message["content"] for message in messages if message["role"] == "user"]
    return Nearest(
        where=f"{row['source']}:{row['line']}",
        similarity=number(best.similarity, 2),
        prompt=_short(asked[-1]),
        answer=_short(messages[-1].get("content") or ""),
    )


def _short(text: str) -> str:
    said, left_out = shortened(text, SHOWN)
    return f"{said}…" if left_out else said
