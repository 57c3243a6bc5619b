"""The checks: what makes a row unfit, alone or beside the others.

Every check has a name, a severity (`reject` takes rows out, `report` only counts them) and, in the
data's record, its count and up to five examples.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kit.config.schema import Checks, Split
from kit.data.rows import DOCUMENT, Rejection, Row, is_document, reject
from kit.data.same import answered, key, normal, prompt_key, turns_of
from kit.data.split import group_of

MOST_EXAMPLES = 5

WHAT = {
    "unreadable": "records that are not UTF-8, JSON or CSV",
    "format": "records that do not have the columns or types of their format",
    "cleaner": "rows that a cleaner of the project turned away",
    "roles": "dialogues that are not: system (optional), then user and assistant in turn, assistant last",
    "empty": "dialogues with an empty message",
    "split": "rows whose split column names no split",
    "template": "dialogues that the chat template cannot express, or that spell its control tokens",
    "too_long": "dialogues over model.max_length; nothing is ever cut",
    "group_leak": "rows whose group also stands in a split that is held out from theirs",
    "overlap": "rows whose prompt (in train, also an earlier turn) is asked by a split held out from theirs",
    "duplicate": "rows equal to an earlier one after Unicode NFKC, case and white space",
    "conflict": "rows that answer an earlier row's prompt differently",
    "variant": "rows that answer otherwise what another row answers in an earlier turn, or under another "
    "system message",
    "length": "dialogues outside the advised length in tokens",
    "expected": "rows without a value for a column that metrics use",
    "no_group": "rows without a value for data.split.group_by: grouped by what they ask instead",
    "revision": "Hub datasets without a pinned revision: tomorrow's data may not be today's",
    "skipped": "files in a folder of data.sources that are of no kind that is read",
}
"""Every check by name, in the order in which they are listed, and what it counts."""


@dataclass
class Check:
    """What one check found."""

    name: str
    severity: str
    count: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, where: str, text: str) -> None:
        self.count += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append({"where": where, "text": text})

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "severity": self.severity,
            "count": self.count,
            "what": WHAT[self.name],
            "examples": self.examples,
        }


class Findings:
    """All checks of one preparation, in a fixed order, and the rows they turned away."""

    def __init__(self, checks: Checks) -> None:
        reports = dict.fromkeys(
            ("variant", "length", "expected", "no_group", "revision", "skipped"), "report"
        )
        chosen = {"duplicate": checks.duplicates, "conflict": checks.conflicts}
        chosen |= {"overlap": checks.overlap, "group_leak": checks.overlap}
        severities = reports | chosen
        self.checks = {name: Check(name, severities.get(name, "reject")) for name in WHAT}
        self.rejected: list[Rejection] = []

    def turn_away(self, rejection: Rejection) -> None:
        """Count a rejection and keep it for `rejected.jsonl`."""
        self.rejected.append(rejection)
        self.checks[rejection.check].add(rejection.where, f"{rejection.reason}{_excerpt(rejection.row)}")

    def note(self, name: str, where: str, text: str) -> None:
        """Count something that does not cost a row."""
        self.checks[name].add(where, text)


def check_structure(row: Row) -> Rejection | None:
    """Roles in order and no empty message; the first fault found."""
    if is_document(row.messages):
        return None if row.messages[0]["content"] else reject(row, "empty", "the document is empty")
    turns = turns_of(row.messages)
    if not turns:
        return reject(row, "roles", "there is nothing after the system message")
    if turns is not row.messages and turns[0]["role"] == "system":
        return reject(row, "roles", "begins with two system messages; join them, or leave one out")
    for number, (message, role) in enumerate(zip(turns, _alternating(), strict=False), start=1):
        if message["role"] != role:
            return reject(row, "roles", f"turn {number} is the {message['role']}'s, expected the {role}'s")
    if turns[-1]["role"] != "assistant":
        return reject(row, "roles", f"ends with the {turns[-1]['role']}, so there is no answer to learn")
    for number, message in enumerate(turns, start=1):
        if not message["content"]:
            return reject(row, "empty", f"turn {number} (the {message['role']}'s) is empty")
    if turns is not row.messages and not row.messages[0]["content"]:
        return reject(row, "empty", "the system message is empty")
    return None


def check_across(rows: list[Row], findings: Findings) -> list[Row]:
    """Leaks between splits, duplicates and conflicts; the rows that stay, in their old order.

    Rows of test are looked at first, then valid, then train, so that of two equal rows the held-out
    one stays and the training row goes.
    """
    ranked = sorted(rows, key=_rank)
    for name, find in _ACROSS.items():
        gone = set()
        for row, reason in find(ranked):
            if findings.checks[name].severity == "reject":
                findings.turn_away(reject(row, name, reason))
                gone.add(id(row))
            else:
                findings.note(name, row.where, f"{reason}{_excerpt({'messages': row.messages})}")
        ranked = [row for row in ranked if id(row) not in gone]
    kept = {id(row) for row in ranked}
    return [row for row in rows if id(row) in kept]


def check_lengths(rows: Iterable[Row], advised: tuple[int, int], findings: Findings) -> None:
    """Count dialogues outside the advised band of tokens."""
    low, high = advised
    for row in rows:
        if not is_document(row.messages) and not low <= row.tokens <= high:
            findings.note("length", row.where, f"{row.tokens} tokens, advised {low} to {high}")


def check_expected(rows: Iterable[Row], columns: Iterable[str], findings: Findings) -> None:
    """Count rows that lack a value metrics will ask for."""
    wanted = list(columns)
    for row in rows:
        missing = [column for column in wanted if row.fields.get(column) is None]
        if missing:
            findings.note("expected", row.where, f"no {', '.join(missing)}")


def check_groups(rows: Iterable[Row], split: Split, findings: Findings) -> None:
    """Count rows that the group column says nothing about."""
    for row in rows if split.group_by else ():
        if group_of(row, split) is None:
            findings.note("no_group", row.where, f"no {split.group_by}{_excerpt({'messages': row.messages})}")


def _group_leaks(rows: list[Row]) -> Iterator[tuple[Row, str]]:
    held_out: dict[str, Row] = {}
    for row in rows:
        if row.group == prompt_key(row.messages):  # no group named: equal prompts are the overlap check's
            continue
        first = held_out.setdefault(row.group, row)
        if first.split != row.split:
            yield row, f"{row.split} has the group {row.group!r} of {first.split} ({first.where})"


def _overlaps(rows: list[Row]) -> Iterator[tuple[Row, str]]:
    asked: dict[str, Row] = {}
    for row in rows:
        *earlier, last = [before for before, _ in answered(row.messages)]
        first = asked.setdefault(last, row)
        if first.split != row.split:
            yield row, f"{row.split} asks what {first.split} asks ({first.where})"
        elif row.split == "train":
            # Loss is on every answer, so an earlier turn that test asks would be learned all the same.
            others = (asked.get(before) for before in earlier)
            found = next((other for other in others if other and other.split != "train"), None)
            if found:
                yield row, f"an earlier turn of it is what {found.split} asks ({found.where})"


def _duplicates(rows: list[Row]) -> Iterator[tuple[Row, str]]:
    seen: dict[str, Row] = {}
    for row in rows:
        first = seen.setdefault(key(row.messages), row)
        if first is not row:
            yield row, f"same as {first.where}"


def _conflicts(rows: list[Row]) -> Iterator[tuple[Row, str]]:
    answered: dict[str, Row] = {}
    for row in rows:
        if is_document(row.messages):
            continue
        first = answered.setdefault(key(row.messages[:-1]), row)
        if normal(first.messages[-1]["content"]) != normal(row.messages[-1]["content"]):
            yield row, f"answers the prompt of {first.where} differently"


def _variants(rows: list[Row]) -> Iterator[tuple[Row, str]]:
    """Answers that carry loss and differ, where neither need be wrong: a greeting has many replies, and
    another system message may ask for another tone. So they are told, not rejected.
    """
    seen: dict[str, tuple[Row, str]] = {}
    for row in rows:
        for turn, (before, answer) in enumerate(answered(row.messages), start=1):
            first, first_answer = seen.setdefault(before, (row, answer))
            if answer == first_answer or key(first.messages[:-1]) == key(row.messages[:-1]):
                continue  # the same, or a conflict and named as one
            yield row, f"answer {turn} is another than {first.where} gives to the same turns"
            break


# Order matters: a row that leaks is named as a leak, not as a duplicate.
_ACROSS: dict[str, Callable[[list[Row]], Iterator[tuple[Row, str]]]] = {
    "group_leak": _group_leaks,
    "overlap": _overlaps,
    "duplicate": _duplicates,
    "conflict": _conflicts,
    "variant": _variants,
}


def _rank(row: Row) -> int:
    return ("test", "valid", "train").index(row.split or "train")


def _alternating() -> Iterator[str]:
    while True:
        yield "user"
        yield "assistant"


def _excerpt(row: Any) -> str:
    """The last question of a row, shortened, to recognise it by."""
    messages = row.get("messages") if isinstance(row, dict) else None
    wanted = ("user", DOCUMENT)
    turns = messages if isinstance(messages, list) else []
    asked = [m.get("content") for m in turns if isinstance(m, dict) and m.get("role") in wanted]
    if not asked:
        return ""
    text = " ".join(str(asked[-1]).split())
    return f": {text if len(text) <= 80 else text[:77] + '...'}"
