"""What the training rows hold of the test prompts: the same text, a long run of words, the most alike one.

The training split is read once, from disk, row by row. Of each answer that is learned 134 bytes stay in
memory, so a hundred thousand rows are looked through within a minute and a few hundred megabytes.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.data.language import language_code
from kit.data.near import words
from kit.data.neighbours import Marks, marks_of
from kit.data.prepared import load_table, unpacked
from kit.data.rows import Message, is_document
from kit.data.same import before_answer, key, normal, turns_of
from kit.data.tools import said
from kit.evaluate.prompts import Prompt

GRAM = 13
"""Words in a row that two texts do not share by chance (Brown et al. 2020, appendix C)."""
COMMON = 10
"""A run that stands in more training rows than this is a form of words, not a leak (the same source)."""
_GIVERS = 20
"""So many rows with a label are remembered: the first whose answer gives it is copied."""
_COLUMNS = ("messages", "expected", "group", "rejected", "label")


@dataclass(frozen=True)
class Run:
    """The longest run of words that a prompt shares with a training row."""

    row: int
    words: str
    """One after the other in the prompt; the row may hold them in overlapping parts of `GRAM` or more."""


@dataclass
class Training:
    """The training split, as it was seen from the test prompts. Places are those of the prompts."""

    folder: Path
    """The prepared data's, with `train/` in it."""
    asks: Marks = field(default_factory=Marks)
    """The marks of every prompt that an answer is learned to."""
    rows: list[int] = field(default_factory=list)
    """The number of the row that each of `asks` stands in."""
    ends: list[int] = field(default_factory=list)
    """Which of its row's answers, from 0, each of `asks` is followed by."""
    usable: list[bool] = field(default_factory=list)
    """Whether that answer is one to give: not one that is labelled bad."""
    same: dict[int, int] = field(default_factory=dict)
    """Place -> the first of `asks` that is the prompt, but for case and white space."""
    runs: dict[int, Run] = field(default_factory=dict)
    """Place -> the longest run of `GRAM` words or more that it shares with a row."""
    groups: dict[int, int] = field(default_factory=dict)
    """Place -> the first row of its group."""
    answers: "dict[str, Counter[bytes]]" = field(default_factory=dict)
    """Language -> a hash of every last answer -> how many rows give it; in the order of the rows."""
    labels: "dict[tuple[str, str], Counter[str]]" = field(default_factory=dict)
    """Key of `expected`, language -> JSON text of the label -> how many rows have it; in that order too."""
    givers: dict[Any, list[int]] = field(default_factory=dict)
    """The first rows of every (language, answer) and (key, language, label)."""


def look_through(prompts: Sequence[Prompt], folder: Path, keys: Collection[str] = ()) -> Training | None:
    """Read the training split once, with the test prompts in mind; None where there is none.

    Args:
        folder: the prepared data's.
        keys: those of `expected` whose values are counted.
    """
    if not list((folder / "train").glob("*.arrow")):
        return None
    wanted: dict[str, list[int]] = {}
    members: dict[str, list[int]] = {}
    for place, prompt in enumerate(prompts):
        wanted.setdefault(key(turns_of(prompt.messages)), []).append(place)
        members.setdefault(prompt.group, []).append(place)
    found = Training(folder)
    runs = _Runs(prompts)
    table = load_table(folder, "train")
    table = table.select_columns([name for name in _COLUMNS if name in table.column_names])
    for number, row in enumerate(map(unpacked, table)):
        turns = turns_of(row["messages"])
        runs.look(number, turns)
        for place in members.get(row["group"], ()):
            found.groups.setdefault(place, number)
        if not is_document(row["messages"]):
            _note_asks(found, number, row, turns, wanted)
            _note_answer(found, number, row, keys)
    found.runs = runs.longest()
    return found


def _note_asks(
    found: Training,
    number: int,
    row: dict[str, Any],
    turns: Sequence[Message],
    wanted: dict[str, list[int]],
) -> None:
    """Loss is on every answer of a dialogue; of a preference, only the last is learned."""
    marks = marks_of([said(turn) for turn in turns[:-1]])
    count = sum(turn["role"] == "assistant" for turn in turns)
    last_only = bool(row.get("rejected")) or row.get("label") is not None
    for end in range(count - 1 if last_only else 0, count):
        before = before_answer(turns, end)
        if not before:
            continue  # the assistant speaks first
        for place in wanted.get(key(before), ()):
            found.same.setdefault(place, len(found.rows))
        found.asks.extend([marks[len(before) - 1]])
        found.rows.append(number)
        found.ends.append(end)
        found.usable.append(row.get("label") is not False)


def _note_answer(found: Training, number: int, row: dict[str, Any], keys: Collection[str]) -> None:
    """Count a row's answer and labels, for all languages together ("") and for its own."""
    if row.get("label") is False:
        return
    answer, expected = text_key(said(row["messages"][-1])), json.loads(row["expected"])
    for language in {"", language_of(expected)}:
        found.answers.setdefault(language, Counter())[answer] += 1
        _note_giver(found, (language, answer), number)
        for name in keys:
            if expected.get(name) not in (None, "", []):
                label = label_text(expected[name])
                found.labels.setdefault((name, language), Counter())[label] += 1
                _note_giver(found, (name, language, label), number)


def _note_giver(found: Training, what: Any, number: int) -> None:
    rows = found.givers.setdefault(what, [])
    if len(rows) < _GIVERS:
        rows.append(number)


def language_of(expected: Mapping[str, Any]) -> str:
    """The `language` that a row names, as a code; empty where it names none."""
    return language_code(str(expected.get("language") or ""))


def text_key(text: str) -> bytes:
    """A hash that texts share exactly when they are the same but for case and white space."""
    return bytes.fromhex(key([{"role": "", "content": normal(text)}]))


def label_text(value: Any) -> str:
    """A label as one text, whether it is a text, a number or a list."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


class _Runs:
    """Runs of 13 words of the test prompts, to be met again in training rows."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._numbers: dict[str, int] = {}
        """Word -> a number; only words of prompts have one, so most training text is passed over."""
        self._places: dict[tuple[int, ...], list[int]] = {}
        self._rows: dict[tuple[int, ...], list[int]] = {}
        self._texts: list[list[list[int]]] = []
        for place, prompt in enumerate(prompts):
            asked = [said(message) for message in prompt.messages if message["role"] == "user"]
            texts = [
                [self._numbers.setdefault(word, len(self._numbers)) for word in words(text)] for text in asked
            ]
            self._texts.append(texts)
            for gram in {gram for text in texts for gram in _grams(text)}:
                self._places.setdefault(gram, []).append(place)

    def look(self, number: int, turns: Sequence[Message]) -> None:
        """Note which runs stand in a row, whoever says them."""
        if not self._places:
            return
        for turn in turns:
            for gram in set(self._known(said(turn))):
                rows = self._rows.setdefault(gram, [])
                if len(rows) <= COMMON and number not in rows[-1:]:
                    rows.append(number)

    def _known(self, text: str) -> Iterator[tuple[int, ...]]:
        run: list[int] = []
        for word in words(text):
            if (found := self._numbers.get(word)) is None:
                run.clear()
                continue
            run.append(found)
            if len(run) >= GRAM and (gram := tuple(run[-GRAM:])) in self._places:
                yield gram

    def longest(self) -> dict[int, Run]:
        """For each prompt that shares one, the row it shares most with, of several the first."""
        spelled = list(self._numbers)
        found: dict[int, Run] = {}
        for place, texts in enumerate(self._texts):
            best: list[int] = []
            row = -1
            for text in texts:
                for number, run in self._shared(text):
                    if (len(run), -number) > (len(best), -row):
                        best, row = run, number
            if best:
                found[place] = Run(row, " ".join(spelled[word] for word in best))
        return found

    def _shared(self, text: list[int]) -> Iterator[tuple[int, list[int]]]:
        """The rows that a text shares runs with, each with its longest: grams one word apart are one run."""
        going: dict[int, int] = {}
        """Row -> where the run that goes on begins."""
        for start, gram in enumerate([*_grams(text), ()]):
            rows = self._rows.get(gram, [])
            rows = rows if len(rows) <= COMMON else []
            for row in [row for row in going if row not in rows]:
                yield row, text[going.pop(row) : start - 1 + GRAM]
            for row in rows:
                going.setdefault(row, start)


def _grams(numbers: Sequence[int]) -> list[tuple[int, ...]]:
    return [tuple(numbers[start : start + GRAM]) for start in range(len(numbers) - GRAM + 1)]
