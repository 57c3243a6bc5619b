"""The checks across rows: leaks between splits, duplicates, conflicts; exact and near.

They work on entries and read a row's texts only where two rows may be near, or to show what was found.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kit.data.check import Findings
from kit.data.near import Pair, alikeness, similarity
from kit.data.neighbours import Beginnings, Marks, Neighbours, find_neighbours
from kit.data.remember import remembered
from kit.data.rows import SPLITS, Message, SplitName
from kit.data.same import before_answer, normal, turns_of
from kit.data.stages import of_dialogues
from kit.data.store import Entry, Store
from kit.data.tools import said

_MOST_COMPARED = 8
"""So many candidates of a row are compared word by word, the most alike first."""


@dataclass(frozen=True)
class Found:
    """A row that a check found, why, and what it was compared with where the texts differ."""

    entry: Entry
    reason: str
    pair: Pair | None = None


@dataclass(frozen=True)
class Rows:
    """Rows on disk and their marks."""

    store: Store
    asks: Marks
    """Of every prompt of every row: an entry's begin at `entry.asks`, one for each answer."""
    wholes: Marks
    """Of every row, at `entry.number`."""


Finder = Callable[[list[Entry]], Iterator[Found]]

_OF_DOCUMENTS = ("group_leak", "overlap", "duplicate", "near_duplicate")
_OF_ANSWERS = ("near_conflict", "variant")
"""Checks of rows that teach their answers: of preferences many answers to one prompt are wanted."""
_HELD_OUT: dict[SplitName, int] = {"train": 0, "valid": 1, "test": 2}
NEAR_CHECKS = ("near_overlap", "near_duplicate", "near_conflict")
"""The checks that need marks."""


def check_across(entries: list[Entry], rows: Rows, findings: Findings) -> list[Entry]:
    """Leaks, duplicates and conflicts; the entries that stay, in their old order.

    Rows of test are looked at first, then valid, then train, so that of two equal rows the held-out
    one stays and the training row goes; within a split the earlier one stays.
    """
    ranked = sorted(entries, key=lambda entry: _rank(entry.split))
    for name, find in finders_of(rows, findings, ranked).items():
        severity = findings.checks[name].severity
        gone = set()
        # A document asks nothing and answers nothing: it can only be one that is there already.
        asked = [
            entry
            for entry in ranked
            if (name in _OF_DOCUMENTS or not entry.document)
            and (name not in _OF_ANSWERS or entry.learned == "answer")
        ]
        for found in find(asked) if severity != "off" else ():
            if severity == "report" and not findings.wants(name):
                findings.count(name)  # without a look at the row
            elif not findings.found(rows.store.row(found.entry), name, found.reason, found.pair):
                gone.add(found.entry.number)
        ranked = [entry for entry in ranked if entry.number not in gone]
    return sorted(ranked, key=lambda entry: entry.number)


def finders_of(rows: Rows, findings: Findings, ranked: Sequence[Entry]) -> dict[str, Finder]:
    """Every check by name, each from ranked entries to what it finds.

    Order matters: a row that leaks is named as a leak, not as a duplicate, and an equal row as equal.
    """
    settings = findings.settings
    near = settings.near_similarity
    # Counted before duplicates go: three rows that say the same are three votes.
    votes = (
        Counter((entry.keys.prompt, entry.keys.answer) for entry in ranked)
        if settings.conflicts_keep == "majority"
        else Counter()
    )
    return {
        "group_leak": _group_leaks,
        "overlap": _overlaps,
        "near_overlap": lambda ranked: _near_overlaps(ranked, rows, near),
        "duplicate": _duplicates,
        "near_duplicate": lambda ranked: _near_duplicates(ranked, rows, near),
        "conflict": lambda ranked: _conflicts(ranked, settings.conflicts_keep, votes),
        "near_conflict": lambda ranked: _near_conflicts(ranked, rows, near, settings.conflicts_keep, votes),
        "variant": _variants,
    }


def _group_leaks(ranked: list[Entry]) -> Iterator[Found]:
    held_out: dict[str, Entry] = {}
    for entry in ranked:
        if not entry.named:  # equal prompts are the overlap check's
            continue
        first = held_out.setdefault(entry.group, entry)
        if first.split != entry.split:
            reason = f"{entry.split} has the group {entry.group!r} of {first.split} ({first.where})"
            yield Found(entry, reason)


def _overlaps(ranked: list[Entry]) -> Iterator[Found]:
    asked: dict[bytes, Entry] = {}
    for entry in ranked:
        first = asked.setdefault(entry.keys.asked, entry)
        if first.split != entry.split:
            yield Found(entry, f"{entry.split} asks what {first.split} asks ({first.where})")
        elif _learns_every_answer(entry):
            # An earlier turn that test asks would be learned all the same.
            others = (asked.get(before) for before, _ in entry.keys.answers[:-1])
            found = next((other for other in others if other and other.split != "train"), None)
            if found:
                yield Found(entry, f"an earlier turn of it is what {found.split} asks ({found.where})")


def _near_overlaps(ranked: list[Entry], rows: Rows, near: float) -> Iterator[Found]:
    ends = [(entry, end) for entry in ranked for end in _ends(entry)]
    held_out = np.array([_HELD_OUT[entry.split] for entry, _ in ends], dtype=np.int8)
    which = np.array([entry.asks + end for entry, end in ends], dtype=np.int64)
    neighbours = find_neighbours(rows.asks, which, near, held_out=held_out)
    texts = _Texts(rows.store)
    found: set[int] = set()
    for number, (entry, end) in enumerate(ends):
        if entry.number in found:
            continue
        others = [
            ends[other][0]
            for other in neighbours.of(number)
            if ends[other][0].split != entry.split and ends[other][0].number not in found
        ]
        # An equal prompt is the overlap check's to tell.
        others = [other for other in others if other.keys.asked != entry.keys.answers[end][0]]
        if hit := _nearest(texts.until(entry, end), others, texts.asked, near):
            other, alike = hit
            found.add(entry.number)
            last = end == len(entry.keys.answers) - 1
            what = f"{entry.split} asks" if last else "an earlier turn of it is"
            reason = f"{what} nearly ({alike:.2f}) what {other.split} asks ({other.where})"
            both = _spoken(before_answer(texts.turns(entry), end)), _spoken(texts.turns(other)[:-1])
            yield Found(entry, reason, Pair(other.where, both, alike))


def _ends(entry: Entry) -> range:
    """The answers that are learned or scored: as in the overlap check, every one of a training row."""
    count = len(entry.keys.answers)
    return range(0 if _learns_every_answer(entry) else count - 1, count)


def _learns_every_answer(entry: Entry) -> bool:
    """Whether loss is on every answer of it: of pairs and labelled answers it is on the last alone."""
    return entry.split == "train" and bool(of_dialogues(entry.stages))


def _duplicates(ranked: list[Entry]) -> Iterator[Found]:
    seen: dict[bytes, Entry] = {}
    for entry in ranked:
        first = seen.setdefault(entry.keys.whole, entry)
        if first is not entry:
            yield Found(entry, f"same as {first.where}")


def _near_duplicates(ranked: list[Entry], rows: Rows, near: float) -> Iterator[Found]:
    which = np.array([entry.number for entry in ranked], dtype=np.int64)
    prompts = _beginnings(ranked, rows, [len(entry.keys.answers) for entry in ranked])
    neighbours = find_neighbours(rows.wholes, which, near, salts=_told(ranked), beginnings=prompts)
    texts = _Texts(rows.store)
    lost_to: dict[int, Entry] = {}
    for number, entry in enumerate(ranked):
        others = _staying(neighbours, number, ranked, lost_to)
        # Calls are data, and thoughts are many: those that are spelt nearly the same are others.
        others = [
            other
            for other in others
            if other.keys.whole != entry.keys.whole and other.keys.beside == entry.keys.beside
        ]
        if hit := _nearest(texts.spoken(entry), others, texts.spoken, near):
            other, alike = hit
            lost_to[entry.number] = other
            both = _spoken(texts.said(entry)), _spoken(texts.said(other))
            reason = f"nearly ({alike:.2f}) the same as {other.where}"
            yield Found(entry, reason, Pair(other.where, both, alike))


_DIFFERS = {
    "answer": "answers the prompt of {} differently",
    "pair": "states the pair of {} the other way round",
    "label": "labels the answer of {} otherwise",
}


def _conflicts(ranked: list[Entry], keep: str, votes: "Counter[tuple[bytes, bytes]]") -> Iterator[Found]:
    asked: dict[bytes, dict[bytes, Entry]] = {}
    for entry in ranked:
        asked.setdefault(entry.keys.prompt, {}).setdefault(entry.keys.answer, entry)
    for entry in ranked:
        prompt, answer = entry.keys.prompt, entry.keys.answer
        answers = asked[prompt]
        if len(answers) == 1:
            continue
        if keep == "none":
            other = next(other for text, other in answers.items() if text != answer)
            yield Found(entry, f"{_DIFFERS[entry.learned].format(other.where)}, and none is kept")
            continue
        # Of as many votes the first wins; rows of one answer come in the order of their lines.
        kept = (
            max(answers, key=lambda text: votes[prompt, text]) if keep == "majority" else next(iter(answers))
        )
        if answer != kept:
            by = f", {votes[prompt, answer]} to {votes[prompt, kept]}" if keep == "majority" else ""
            yield Found(entry, f"{_DIFFERS[entry.learned].format(answers[kept].where)}{by}")


def _near_conflicts(
    ranked: list[Entry], rows: Rows, near: float, keep: str, votes: "Counter[tuple[bytes, bytes]]"
) -> Iterator[Found]:
    texts = _Texts(rows.store)
    for asked in _asked_nearly_alike(ranked, rows, near, texts):
        answers = _by_answer(asked, near, texts, first_only=keep == "first")
        if len(answers) == 1:
            continue
        counts = [sum(votes[each.keys.prompt, each.keys.answer] for each in group) for group in answers]
        kept = counts.index(max(counts)) if keep == "majority" else 0  # of as many votes, the first
        for number, group in enumerate(answers):
            if number == kept and keep != "none":
                continue
            other = answers[kept if number != kept else 1][0]
            how = ", and none is kept" if keep == "none" else ""
            how = f", {counts[number]} to {counts[kept]}" if keep == "majority" else how
            for entry in group:
                if entry.keys.asked == other.keys.asked:
                    continue  # an equal prompt is the conflict check's to tell
                alike = min(asked[entry], asked[other])
                reason = f"answers nearly ({alike:.2f}) the prompt of {other.where} differently{how}"
                both = _spoken(texts.turns(entry)), _spoken(texts.turns(other))
                yield Found(entry, reason, Pair(other.where, both, alike))


def _asked_nearly_alike(
    ranked: list[Entry], rows: Rows, near: float, texts: "_Texts"
) -> Iterator[dict[Entry, float]]:
    """Rows whose prompts are nearly that of the first of them, each with how near it is; two or more."""
    earlier = [len(entry.keys.answers) - 1 for entry in ranked]
    prompts = _beginnings(ranked, rows, earlier)
    which = prompts.first + prompts.count
    neighbours = find_neighbours(rows.asks, which, near, salts=_told(ranked), beginnings=prompts)
    lost_to: dict[int, Entry] = {}
    groups: dict[Entry, dict[Entry, float]] = {}
    for number, entry in enumerate(ranked):
        others = _staying(neighbours, number, ranked, lost_to)
        if hit := _nearest(texts.asked(entry), others, texts.asked, near):
            first, alike = hit
            lost_to[entry.number] = first
            groups.setdefault(first, {first: 1.0})[entry] = alike
    yield from groups.values()


def _by_answer(asked: Iterable[Entry], near: float, texts: "_Texts", first_only: bool) -> list[list[Entry]]:
    """Rows by what they answer, nearly. If the first answer is all that counts, the others are one."""
    answers: list[list[Entry]] = []
    for entry in asked:
        looked_at = answers[:1] if first_only else answers
        own = said(texts.turns(entry)[-1])
        same = (group for group in looked_at if _same_answer(own, said(texts.turns(group[0])[-1]), near))
        group = next(same, answers[1] if first_only and len(answers) > 1 else None)
        if group is None:
            answers.append([entry])
        else:
            group.append(entry)
    return answers


def _same_answer(one: str, other: str, near: float) -> bool:
    return normal(one) == normal(other) or similarity([one], [other], near) is not None


def _variants(ranked: list[Entry]) -> Iterator[Found]:
    """Answers that carry loss and differ, where neither need be wrong: a greeting has many replies, and
    another system message may ask for another tone. So they are told, not rejected.
    """
    seen: dict[bytes, tuple[Entry, bytes]] = {}
    for entry in ranked:
        for turn, (before, answer) in enumerate(entry.keys.answers, start=1):
            first, first_answer = seen.setdefault(before, (entry, answer))
            if answer == first_answer or first.keys.prompt == entry.keys.prompt:
                continue  # the same, or a conflict and named as one
            yield Found(entry, f"answer {turn} is another than {first.where} gives to the same turns")
            break


class _Texts:
    """The turns of rows, read from disk; those of the last few stay, for near rows are often alike."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.said = remembered(_size)(self._said)
        """Without the system message, of a pair with both answers."""

    def _said(self, entry: Entry) -> list[Message]:
        return list(turns_of(self._store.row(entry).said))

    def turns(self, entry: Entry) -> list[Message]:
        """The dialogue, of a pair with the chosen answer."""
        return self.said(entry)[:-1] if entry.learned == "pair" else self.said(entry)

    def spoken(self, entry: Entry) -> list[str]:
        """All that is said."""
        return [said(message) for message in self.said(entry)]

    def asked(self, entry: Entry) -> list[str]:
        """All before the last answer."""
        return [said(message) for message in self.turns(entry)[:-1]]

    def until(self, entry: Entry, end: int) -> list[str]:
        """All before an answer, counted from 0."""
        return [said(message) for message in before_answer(self.turns(entry), end)]


def _size(entry: Entry) -> int:
    return entry.size


def _nearest(
    turns: list[str], others: Sequence[Entry], turns_of_other: Callable[[Entry], list[str]], near: float
) -> tuple[Entry, float] | None:
    """The first of the others that is near, which come the most alike first, and how near it is."""
    for other in others[:_MOST_COMPARED]:
        if alike := alikeness(turns, turns_of_other(other), near):
            return other, alike
    return None


def _staying(
    neighbours: Neighbours, number: int, ranked: Sequence[Entry], lost_to: Mapping[int, Entry]
) -> list[Entry]:
    """The rows that stay among the neighbours; one that was lost stands for the row it lost to, for in a
    crowd that one need not be a neighbour itself.
    """
    others = (ranked[other] for other in neighbours.of(number))
    return list(dict.fromkeys(lost_to.get(other.number, other) for other in others))


def _beginnings(ranked: Sequence[Entry], rows: Rows, counts: Sequence[int]) -> Beginnings:
    """The first so many prompts of every row."""
    first = np.array([entry.asks for entry in ranked], dtype=np.int64)
    return Beginnings(rows.asks, first, np.array(counts, dtype=np.int64))


def _told(ranked: Sequence[Entry]) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """A hash of each system message and tools: under others, the same words may be another example."""
    return np.array([int.from_bytes(entry.keys.told[:8], "little") for entry in ranked], dtype=np.uint64)


def _spoken(turns: Sequence[Message]) -> str:
    """A dialogue, or its beginning, as one text for people."""
    if len(turns) == 1:
        return said(turns[0])
    return "\n".join(f"{turn['role']}: {said(turn)}" for turn in turns)


def _rank(split: SplitName) -> int:
    return SPLITS[::-1].index(split)
