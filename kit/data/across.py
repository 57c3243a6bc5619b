"""The checks across rows: leaks between splits and from benchmarks, duplicates, conflicts; exact and near."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from kit.config.schema import Checks
from kit.data.benchmarks import Benchmark, proves_something
from kit.data.check import Findings, excerpt
from kit.data.near import NearIndex, Pair, similarity
from kit.data.rows import DOCUMENT, Row, is_document, reject
from kit.data.same import answered, key, normal, prompt_key, turns_of
from kit.data.tools import said
from kit.files import sha256_json


@dataclass(frozen=True)
class Found:
    """A row that a check found, why, and what it was compared with where the texts differ."""

    row: Row
    reason: str
    pair: Pair | None = None


_OF_DOCUMENTS = ("benchmark", "group_leak", "overlap", "duplicate", "near_duplicate")

Finder = Callable[[list[Row]], Iterator[Found]]


def check_across(rows: list[Row], findings: Findings, benchmarks: Sequence[Benchmark] = ()) -> list[Row]:
    """Leaks, duplicates and conflicts; the rows that stay, in their old order.

    Rows of test are looked at first, then valid, then train, so that of two equal rows the held-out
    one stays and the training row goes; within a split the earlier one stays.
    """
    ranked = sorted(rows, key=_rank)
    for name, find in finders_of(findings.settings, benchmarks, ranked).items():
        severity = findings.checks[name].severity
        gone = set()
        # A document asks nothing and answers nothing: it can only be one that is there already.
        asked = [row for row in ranked if name in _OF_DOCUMENTS or not is_document(row.messages)]
        for found in find(asked) if severity != "off" else ():
            row, pair = found.row, found.pair
            if severity == "reject":
                findings.turn_away(reject(row, name, found.reason), pair)
                gone.add(id(row))
            else:
                findings.note(name, row.where, f"{found.reason}{excerpt({'messages': row.messages})}", pair)
        ranked = [row for row in ranked if id(row) not in gone]
    kept = {id(row) for row in ranked}
    return [row for row in rows if id(row) in kept]


def finders_of(checks: Checks, benchmarks: Sequence[Benchmark], rows: list[Row]) -> dict[str, Finder]:
    """Every check by name, each from ranked rows to what it finds.

    Order matters: a row that leaks is named as a leak, not as a duplicate, and an equal row as equal.
    """
    near = checks.near_similarity
    # Counted before duplicates go: three rows that say the same are three votes.
    votes = Counter((_asked(row), normal(said(row.messages[-1]))) for row in rows)
    return {
        "benchmark": lambda rows: _in_benchmarks(rows, benchmarks, near),
        "group_leak": _group_leaks,
        "overlap": _overlaps,
        "near_overlap": lambda rows: _near_overlaps(rows, near),
        "duplicate": _duplicates,
        "near_duplicate": lambda rows: _near_duplicates(rows, near),
        "conflict": lambda rows: _conflicts(rows, checks.conflicts_keep, votes),
        "near_conflict": lambda rows: _near_conflicts(rows, near),
        "variant": _variants,
    }


def _in_benchmarks(rows: list[Row], benchmarks: Sequence[Benchmark], near: float) -> Iterator[Found]:
    index: NearIndex[tuple[str, str]] = NearIndex(near)
    for benchmark in benchmarks:
        for where, text in benchmark.texts:
            index.add([text], (where, text))
    for row in rows if benchmarks else ():
        if row.split == "test":  # nothing is learned from it, and no checkpoint chosen by it
            continue
        messages = [message for message in turns_of(row.messages) if proves_something(said(message))]
        for message in messages:
            if hit := index.find([said(message)]):
                (where, text), alike = hit
                what = {"user": "a question", DOCUMENT: "the text"}.get(message["role"], "an answer")
                how = "stands" if alike == 1 else f"nearly stands ({alike:.2f})"
                pair = Pair(where, (said(message), text), alike)
                yield Found(row, f"{what} of it {how} in the benchmark {where}", pair)
                break


def _group_leaks(rows: list[Row]) -> Iterator[Found]:
    held_out: dict[str, Row] = {}
    for row in rows:
        if row.group == prompt_key(row.messages):  # no group named: equal prompts are the overlap check's
            continue
        first = held_out.setdefault(row.group, row)
        if first.split != row.split:
            yield Found(row, f"{row.split} has the group {row.group!r} of {first.split} ({first.where})")


def _overlaps(rows: list[Row]) -> Iterator[Found]:
    asked: dict[str, Row] = {}
    for row in rows:
        *earlier, last = [before for before, _ in answered(row.messages)]
        first = asked.setdefault(last, row)
        if first.split != row.split:
            yield Found(row, f"{row.split} asks what {first.split} asks ({first.where})")
        elif row.split == "train":
            # Loss is on every answer, so an earlier turn that test asks would be learned all the same.
            others = (asked.get(before) for before in earlier)
            found = next((other for other in others if other and other.split != "train"), None)
            if found:
                yield Found(row, f"an earlier turn of it is what {found.split} asks ({found.where})")


def _near_overlaps(rows: list[Row], near: float) -> Iterator[Found]:
    held_out = {"test": NearIndex[Row](near), "valid": NearIndex[Row](near)}
    for row in rows:
        turns = turns_of(row.messages)
        texts = [said(message) for message in turns]
        # As in the overlap check, an earlier turn of a training row is learned as well.
        answers = [number for number, turn in enumerate(turns) if turn["role"] == "assistant"]
        ends = answers if row.split == "train" else [len(texts) - 1]
        for end, (split, index) in product(ends, held_out.items()):
            if split == row.split:
                continue
            hit = index.find(texts[:end])
            if hit and not _asks_the_same(row, hit[0], end):
                other, alike = hit
                what = f"{row.split} asks" if end == ends[-1] else "an earlier turn of it is"
                reason = f"{what} nearly ({alike:.2f}) what {split} asks ({other.where})"
                texts_of_both = _spoken(row, end), _spoken(other, end)
                yield Found(row, reason, Pair(other.where, texts_of_both, alike))
                break
        else:
            if row.split in held_out:
                held_out[row.split].add(texts[:-1], row)


def _asks_the_same(row: Row, other: Row, end: int) -> bool:
    """An equal prompt is the overlap check's to tell."""
    return key(turns_of(row.messages)[:end]) == prompt_key(other.messages)


def _spoken(row: Row, end: int | None = None) -> str:
    """The dialogue, or its beginning, as one text for people."""
    turns = turns_of(row.messages)[:end]
    if len(turns) == 1:
        return said(turns[0])
    return "\n".join(f"{turn['role']}: {said(turn)}" for turn in turns)


def _duplicates(rows: list[Row]) -> Iterator[Found]:
    seen: dict[str, Row] = {}
    for row in rows:
        first = seen.setdefault(key(row.messages) + _offered(row), row)
        if first is not row:
            yield Found(row, f"same as {first.where}")


def _near_duplicates(rows: list[Row], near: float) -> Iterator[Found]:
    kept: dict[tuple[str, str], NearIndex[Row]] = {}
    for row in rows:
        texts = [said(message) for message in turns_of(row.messages)]
        # Calls are data: one that is spelt nearly the same is another.
        calls = [message.get("tool_calls") for message in row.messages]
        index = kept.setdefault((_told(row), json.dumps(calls, sort_keys=True)), NearIndex(near))
        hit = index.find(texts)
        if hit is None:  # only rows that stay are added, so a row that goes lost to one that stays
            index.add(texts, row)
        elif key(hit[0].messages) != key(row.messages):
            other, alike = hit
            pair = Pair(other.where, (_spoken(row), _spoken(other)), alike)
            yield Found(row, f"nearly ({alike:.2f}) the same as {other.where}", pair)


def _told(row: Row) -> str:
    """The system message and the tools: under others, the same words may be another example."""
    system = "" if turns_of(row.messages) is row.messages else normal(row.messages[0]["content"])
    return system + _offered(row)


def _offered(row: Row) -> str:
    """The tools of a row, if it has any."""
    return sha256_json(row.tools) if row.tools else ""


def _asked(row: Row) -> str:
    """What the last answer of a row answers: all turns before it, and the tools that it may use."""
    return key(row.messages[:-1]) + _offered(row)


def _conflicts(rows: list[Row], keep: str, votes: Counter[tuple[str, str]]) -> Iterator[Found]:
    asked: dict[str, dict[str, Row]] = {}
    for row in rows:
        answers = asked.setdefault(_asked(row), {})
        answers.setdefault(normal(said(row.messages[-1])), row)
    for row in rows:
        prompt, answer = _asked(row), normal(said(row.messages[-1]))
        answers = asked[prompt]
        if len(answers) == 1:
            continue
        if keep == "none":
            other = next(other for text, other in answers.items() if text != answer)
            yield Found(row, f"answers the prompt of {other.where} differently, and none is kept")
            continue
        # Of as many votes the first wins; rows of one answer come in the order of their lines.
        kept = (
            max(answers, key=lambda text: votes[prompt, text]) if keep == "majority" else next(iter(answers))
        )
        if answer != kept:
            by = f", {votes[prompt, answer]} to {votes[prompt, kept]}" if keep == "majority" else ""
            yield Found(row, f"answers the prompt of {answers[kept].where} differently{by}")


def _near_conflicts(rows: list[Row], near: float) -> Iterator[Found]:
    asked: dict[str, NearIndex[Row]] = {}
    for row in rows:
        prompt = [said(message) for message in turns_of(row.messages)[:-1]]
        index = asked.setdefault(_told(row), NearIndex(near))
        hit = index.find(prompt)
        if hit is None:
            index.add(prompt, row)
            continue
        other, alike = hit
        answers = said(row.messages[-1]), said(other.messages[-1])
        if prompt_key(row.messages) == prompt_key(other.messages) or _same_answer(*answers, near):
            continue  # an equal prompt is the conflict check's to tell
        reason = f"answers nearly ({alike:.2f}) the prompt of {other.where} differently"
        yield Found(row, reason, Pair(other.where, (_spoken(row), _spoken(other)), alike))


def _same_answer(one: str, other: str, near: float) -> bool:
    return normal(one) == normal(other) or similarity([one], [other], near) is not None


def _variants(rows: list[Row]) -> Iterator[Found]:
    """Answers that carry loss and differ, where neither need be wrong: a greeting has many replies, and
    another system message may ask for another tone. So they are told, not rejected.
    """
    seen: dict[str, tuple[Row, str]] = {}
    for row in rows:
        for turn, (before, answer) in enumerate(answered(row.messages), start=1):
            first, first_answer = seen.setdefault(before, (row, answer))
            if answer == first_answer or _asked(first) == _asked(row):
                continue  # the same, or a conflict and named as one
            yield Found(row, f"answer {turn} is another than {first.where} gives to the same turns")
            break


def _rank(row: Row) -> int:
    return ("test", "valid", "train").index(row.split or "train")
