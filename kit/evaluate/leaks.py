"""Test prompts that stand in the training rows all the same: exactly, nearly, by a long run of words, or by
their group.

The data checks reject such rows by default, but a project may have them reported only, and a run of words
is none of theirs. A score on a leaked prompt may be memory; so every score is given without them as well.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import Match, SequenceMatcher
from typing import Any, Literal

from kit.data.near import words
from kit.data.personal import redact
from kit.data.prepared import PreparedRow, load_rows
from kit.data.rows import Message
from kit.data.same import before_answer, turns_of
from kit.data.tools import said
from kit.data.words import CJK
from kit.evaluate.alike import MostAlike
from kit.evaluate.prompts import Prompt
from kit.evaluate.training import Run, Training

Kind = Literal["exact", "near", "13-gram", "group"]
KINDS: Mapping[Kind, str] = {
    "exact": "the same text, but for case and white space",
    "near": "nearly the same text, with the same numbers and negations",
    "13-gram": "a run of 13 words or more that stands in no more than ten training rows",
    "group": "the same group, such as a patient or a ticket (`data.split.group_by`)",
}
"""The surest first; a prompt is listed once, by the surest."""
_SHOWN = 600  # characters of a text
_BETWEEN = re.compile(f"(?<=[{CJK}]) (?=[{CJK}])")


@dataclass(frozen=True)
class Place:
    """Where a text stands and what it says."""

    where: str
    """`file:line`."""
    id: str
    text: str
    """Shortened."""


@dataclass(frozen=True)
class Leak:
    """A test prompt and the training row that holds it."""

    id: str
    """The prompt's."""
    kind: Kind
    test: Place
    train: Place
    similarity: float | None
    """Jaccard index of the turn that is least alike; None for a shared run or group."""
    differs: tuple[str, str]
    """The words of the prompt that the training row has not in their place, and its own there."""
    shared: str
    """The longest run of words that both have, of a shared run."""

    def as_json(self) -> dict[str, Any]:
        """As `scores.json` lists it."""
        return {**asdict(self), "differs": list(self.differs)}


def find_leaks(prompts: Sequence[Prompt], training: Training, alike: Sequence[MostAlike]) -> list[Leak]:
    """The prompts that stand in training rows, in the prompts' order, each with the first such row."""
    found = []
    for place, (prompt, like) in enumerate(zip(prompts, alike, strict=True)):
        if place in training.same:
            number = training.same[place]
            row, end = training.rows[number], training.ends[number]
            found.append(_of_prompt(prompt, training, row, end, 1.0, "exact"))
        elif like.near is not None:
            near = like.near
            found.append(_of_prompt(prompt, training, near.row, near.end, near.similarity, "near"))
        elif place in training.runs:
            found.append(_of_run(prompt, training.runs[place], training))
        elif place in training.groups:
            found.append(_of_group(prompt, training.groups[place], training))
    return found


def _of_prompt(prompt: Prompt, training: Training, number: int, end: int, alike: float, kind: Kind) -> Leak:
    (row,) = load_rows(training.folder, "train", [number])
    own, theirs = _spoken(turns_of(prompt.messages)), _spoken(before_answer(turns_of(row.messages), end))
    own, theirs = redact(own), redact(theirs)  # more people read the scores than the data
    return Leak(
        id=prompt.id,
        kind=kind,
        test=_place_of(prompt, own),
        train=_place(row, theirs),
        similarity=round(alike, 2),
        differs=_differing(own, theirs),
        shared="",
    )


def _of_run(prompt: Prompt, run: Run, training: Training) -> Leak:
    (row,) = load_rows(training.folder, "train", [run.row])
    asked = [said(turn) for turn in prompt.messages if turn["role"] == "user"]
    mine, theirs = (redact(_holding(run, texts)) for texts in (asked, map(said, turns_of(row.messages))))
    return Leak(
        id=prompt.id,
        kind="13-gram",
        test=_place_of(prompt, mine),
        train=_place(row, theirs),
        similarity=None,
        differs=_differing(mine, theirs),
        shared=_shared(mine, theirs),
    )


def _holding(run: Run, texts: Iterable[str]) -> str:
    """The first text that holds the whole run; where none does, the first of those with most of it."""
    return max(texts, key=lambda text: _common(run.words.split(" "), words(text)).size)


def _of_group(prompt: Prompt, number: int, training: Training) -> Leak:
    (row,) = load_rows(training.folder, "train", [number])
    turns = turns_of(row.messages)
    mine, theirs = redact(_spoken(turns_of(prompt.messages))), redact(_spoken(turns[:-1] or turns))
    return Leak(
        id=prompt.id,
        kind="group",
        test=_place_of(prompt, mine),
        train=_place(row, theirs),
        similarity=None,
        differs=_differing(mine, theirs),
        shared="",
    )


def _spoken(turns: Sequence[Message]) -> str:
    return "\n".join(map(said, turns))


def _place_of(prompt: Prompt, text: str) -> Place:
    return Place(f"{prompt.source}:{prompt.line}", prompt.id, _shortened(text))


def _place(row: PreparedRow, text: str) -> Place:
    return Place(f"{row.source}:{row.line}", row.id, _shortened(text))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _shared(own: str, theirs: str) -> str:
    """The longest run of words of both, once they are redacted."""
    one, other = words(own), words(theirs)
    run = _common(one, other)
    return _BETWEEN.sub("", " ".join(one[run.a : run.a + run.size]))


def _common(one: Sequence[str], other: Sequence[str]) -> Match:
    return SequenceMatcher(None, one, other, autojunk=False).find_longest_match()


def _differing(own: str, theirs: str) -> tuple[str, str]:
    """The words of each that the other has not in their place, shortened."""
    one, other = words(own), words(theirs)
    gone: list[str] = []
    come: list[str] = []
    for kind, start, end, other_start, other_end in SequenceMatcher(
        None, one, other, autojunk=False
    ).get_opcodes():
        if kind != "equal":
            gone += one[start:end]
            come += other[other_start:other_end]
    return _shortened(" ".join(gone)), _shortened(" ".join(come))
