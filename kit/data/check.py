"""The checks: what makes a row unfit, alone or beside the others.

Every check has a name, a severity (`reject` takes rows out, `report` only counts them, `off` does not
look) and, in the data's record, its count and up to five examples.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kit.config.schema_data import Checks, Data, PersonalKind, Split
from kit.data.near import Pair
from kit.data.personal import People, redact, redact_all, redact_lines
from kit.data.rows import DOCUMENT, Message, Rejection, Row, is_document, reject
from kit.data.same import normal, turns_of
from kit.data.store import Entry, Rejections, Store
from kit.data.tools import fault_of_calls, said

MOST_EXAMPLES = 5

WHAT = {
    "unreadable": "records that are not UTF-8, JSON or CSV",
    "format": "records that do not have the columns or types of their format",
    "cleaner": "rows that a cleaner of the project turned away",
    "personal": "rows with personal data or secrets",
    "same_answers": "pairs whose chosen and rejected answers are the same",
    "roles": "dialogues that are not: system (optional), then user and assistant in turn, assistant last; "
    "after tool calls as many results, then the assistant",
    "empty": "dialogues with an empty message",
    "tools": "dialogues that call a function which is none of their tools, or with results of unknown calls",
    "split": "rows whose split column names no split",
    "flag": "rows whose answerable, red_flag or hand_over is neither yes nor no",
    "template": "dialogues that the chat template cannot express, or that spell its control tokens",
    "too_long": "dialogues over model.max_length that data.over_length does not keep",
    "in_samples": "dialogues over model.max_length, trained in several samples, each answer once",
    "shortened": "dialogues over model.max_length whose prompt lost its beginning",
    "benchmark": "rows of train or valid with a text that stands, or nearly, in a benchmark",
    "group_leak": "rows whose group also stands in a split that is held out from theirs",
    "overlap": "rows whose prompt (in train, also an earlier turn) is asked by a split held out from theirs",
    "near_overlap": "rows whose prompt is nearly that of a split held out from theirs",
    "duplicate": "rows equal to an earlier one after Unicode NFKC, case and white space",
    "near_duplicate": "rows whose every turn is nearly that of an earlier row",
    "conflict": "rows that answer another row's prompt differently, or prefer otherwise",
    "near_conflict": "rows that answer nearly the prompt of an earlier row differently",
    "variant": "rows that answer otherwise what another row answers in an earlier turn, or under another "
    "system message",
    "length": "dialogues outside the advised length in tokens",
    "expected": "rows without a value for a column that metrics use",
    "no_group": "rows without a value for data.split.group_by: grouped by what they ask instead",
    "language": "rows with a turn in another language than the project's, its question's or the row's",
    "encoding": "rows with wrongly decoded text, replacement or control characters",
    "html": "rows with HTML tags or entities",
    "template_marks": "rows with marks of chat templates, unfilled placeholders, or 'as an AI'",
    "boilerplate": "rows whose answers share a sentence with more than 5% of all rows",
    "repetition": "rows with an answer in which over half of the word 4-grams came before",
    "refusal": "rows with an answer that declines",
    "balance": "slices too rare to test or told apart by their answers' length, labels with one value",
    "revision": "Hub datasets without a pinned revision: tomorrow's data may not be today's",
    "skipped": "files in a folder of data.sources that are of no kind that is read",
}
"""Every check by name, in the order in which they are listed, and what it counts."""
_CUSTOM = "rows in which a check of the project finds a fault"


@dataclass
class Check:
    """What one check found."""

    name: str
    severity: str
    what: str
    """What it counts."""
    count: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, where: str, text: str, pair: Pair | None = None) -> None:
        self.count += 1
        self.examples.append({"where": where, "text": text, **({"pair": pair.as_json()} if pair else {})})

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "severity": self.severity,
            "count": self.count,
            "what": self.what,
            "examples": self.examples,
        }


@dataclass
class Personal:
    """Personal data that was found, by kind."""

    rows: Counter[PersonalKind] = field(default_factory=Counter)
    values: Counter[PersonalKind] = field(default_factory=Counter)
    """Distinct values, dialogue by dialogue."""

    def as_json(self, data: Data) -> dict[str, Any]:
        """What becomes of it, and the counts of every kind that is looked for, for `data.json`."""
        kinds = [
            {"kind": kind, "rows": self.rows[kind], "values": self.values[kind]}
            for kind in data.personal_kinds
        ]
        return {"action": data.personal, "kinds": kinds}


class Findings:
    """All checks of one preparation, in a fixed order, and the rows they turned away."""

    def __init__(
        self,
        checks: Checks,
        personal: str = "report",
        rejected: Rejections | None = None,
        people: People | None = None,
    ) -> None:
        reports = dict.fromkeys(
            ("in_samples", "shortened", "variant", "length", "expected", "no_group", "revision", "skipped"),
            "report",
        )
        chosen: dict[str, str] = {"duplicate": checks.duplicates, "conflict": checks.conflicts}
        chosen |= {"overlap": checks.overlap, "group_leak": checks.overlap}
        chosen |= {name: getattr(checks, name) for name in WHAT if name in Checks.model_fields}
        chosen |= {"personal": "reject" if personal == "reject" else "report"}
        self.settings = checks
        severities = reports | chosen
        self.checks = {name: Check(name, severities.get(name, "reject"), what) for name, what in WHAT.items()}
        self.checks |= {name: Check(name, severity, _CUSTOM) for name, severity in checks.custom.items()}
        self.rejected: list[Rejection] | Rejections = [] if rejected is None else rejected
        self.personal = Personal()
        self.languages: Counter[str] = Counter()
        """How many turns are in which language,"""
        self.not_judged = 0
        """and how many are too short to tell."""
        self._hide = personal != "report"
        self._people = people

    def on(self, name: str) -> bool:
        """Whether a check is not switched off."""
        return self.checks[name].severity != "off"

    def wants(self, name: str) -> bool:
        """Whether a check has room for one more example."""
        return len(self.checks[name].examples) < MOST_EXAMPLES

    def turn_away(self, rejection: Rejection, pair: Pair | None = None) -> None:
        """Count a rejection and keep it for `rejected.jsonl`, personal data in its reason shortened.

        Unless such data is only reported, it is shortened in the row as well: nothing that is written may
        tell what was masked.
        """
        row = self.redact_row(rejection.row) if self._hide else rejection.row
        self.rejected.append(replace(rejection, reason=self.redact(rejection.reason), row=row))
        if self.wants(rejection.check):
            text = f"{rejection.reason}{self.excerpt(rejection.row)}"
            self.note(rejection.check, rejection.where, text, pair)
        else:
            self.count(rejection.check)

    def found(self, row: Row, name: str, reason: str, pair: Pair | None = None) -> bool:
        """Count a finding of a row by the check's severity; whether the row stays."""
        if self.checks[name].severity == "reject":
            self.turn_away(reject(row, name, reason), pair)
            return False
        self.note_row(row, name, reason, pair)
        return True

    def note_row(self, row: Row, name: str, reason: str, pair: Pair | None = None) -> None:
        """Count something about a row that stays."""
        if self.wants(name):
            self.note(name, row.where, f"{reason}{self.excerpt({'messages': row.messages})}", pair)
        else:
            self.count(name)

    def note(self, name: str, where: str, text: str, pair: Pair | None = None) -> None:
        """Count something that need not cost a row; personal data in what is shown is shortened."""
        if not self.wants(name):
            self.count(name)
            return
        if pair is not None:
            one, other = (redact_lines(text, self._people) for text in pair.texts)
            pair = replace(pair, texts=(one, other))
        self.checks[name].add(where, self.redact(text), pair)

    def redact(self, text: str) -> str:
        """The text with personal data shortened."""
        return redact(text, self._people)

    def redact_row(self, value: Any) -> Any:
        """A row, or a part of one, with personal data shortened."""
        return redact_all(value, self._people)

    def excerpt(self, row: Any) -> str:
        """The last question of a row, shortened, to recognise it by."""
        messages = row.get("messages") if isinstance(row, dict) else None
        wanted = ("user", DOCUMENT)
        turns = messages if isinstance(messages, list) else []
        # An answer to `What is your number?` is told by the question, and may be said again later.
        said = self.redact_row([_short(m) if isinstance(m, dict) else {} for m in turns])
        asked = [m["content"] for m in said if m.get("role") in wanted]
        if not asked:
            return ""
        text = " ".join(asked[-1].split())
        return f": {text if len(text) <= 80 else text[:77] + '...'}"

    def count(self, name: str) -> None:
        """Count what is not shown: the examples are complete."""
        self.checks[name].count += 1

    def merge(self, later: "Findings") -> None:
        """Add what was found in later rows; the examples stay those of the first."""
        for name, check in later.checks.items():
            own = self.checks[name]
            own.count += check.count
            own.examples += check.examples[: MOST_EXAMPLES - len(own.examples)]
        for rejection in later.rejected:
            self.rejected.append(rejection)
        self.personal.rows.update(later.personal.rows)
        self.personal.values.update(later.personal.values)
        self.languages.update(later.languages)
        self.not_judged += later.not_judged


def _short(message: dict[str, Any]) -> dict[str, str]:
    """A message as far as an excerpt needs it: its beginning, and the end that asks something."""
    text = str(message.get("content"))
    return {
        "role": str(message.get("role")),
        "content": text if len(text) <= 1000 else f"{text[:900]} {text[-100:]}",
    }


def check_structure(row: Row) -> Rejection | None:
    """Roles in order, no empty message, calls and their results that fit; the first fault found."""
    if is_document(row.messages):
        return None if row.messages[0]["content"] else reject(row, "empty", "the document is empty")
    turns = turns_of(row.messages)
    if not turns:
        return reject(row, "roles", "there is nothing after the system message")
    if turns is not row.messages and turns[0]["role"] == "system":
        return reject(row, "roles", "begins with two system messages; join them, or leave one out")
    if reason := _out_of_turn(turns):
        return reject(row, "roles", reason)
    for number, message in enumerate(turns, start=1):
        # A function may give nothing back, and who calls one need not speak.
        if not (message["content"] or message.get("tool_calls") or message["role"] == "tool"):
            return reject(row, "empty", f"turn {number} (the {message['role']}'s) is empty")
    if turns is not row.messages and not row.messages[0]["content"]:
        return reject(row, "empty", "the system message is empty")
    reason = fault_of_calls(row.messages, row.tools)
    return reject(row, "tools", reason) if reason else None


def _out_of_turn(turns: Sequence[Message]) -> str:
    """What is wrong with the order of a dialogue's turns, or nothing."""
    results = 0  # how many calls wait for what they gave
    expected = "user"
    for number, message in enumerate(turns, start=1):
        role, calls = message["role"], len(message.get("tool_calls", ()))
        if role != expected:
            missing = f"; {results} tool calls have no result" if expected == "tool" else ""
            return f"turn {number} is the {role}'s, expected the {expected}'s{missing}"
        results = calls if role == "assistant" else max(0, results - 1)
        expected = "tool" if results else "user" if role == "assistant" else "assistant"
    last = turns[-1]["role"]
    return "" if last == "assistant" else f"ends with the {last}, so there is no answer to learn"


def check_pair(row: Row) -> Rejection | None:
    """A pair with two different answers, neither empty."""
    if row.rejected is None:
        return None
    if not said(row.rejected):
        return reject(row, "empty", "the rejected answer is empty")
    if reason := fault_of_calls([*row.messages[:-1], row.rejected], row.tools):
        return reject(row, "tools", f"the rejected answer: {reason}")
    if normal(said(row.rejected)) == normal(said(row.messages[-1])):
        return reject(row, "same_answers", "the chosen and the rejected answer are the same")
    return None


def check_lengths(entries: Iterable[Entry], advised: tuple[int, int], findings: Findings) -> None:
    """Count dialogues outside the advised band of tokens."""
    low, high = advised
    for entry in entries:
        if not entry.document and not low <= entry.tokens <= high:
            findings.note("length", entry.where, f"{entry.tokens} tokens, advised {low} to {high}")


def check_expected(entries: Iterable[Entry], findings: Findings) -> None:
    """Count rows that lack a value metrics will ask for."""
    for entry in entries:
        if entry.missing:
            findings.note("expected", entry.where, f"no {', '.join(entry.missing)}")


def check_groups(entries: Iterable[Entry], split: Split, store: Store, findings: Findings) -> None:
    """Count rows that the group column says nothing about."""
    for entry in entries if split.group_by else ():
        if not entry.named:
            wanted = findings.wants("no_group")
            shown = findings.excerpt({"messages": store.row(entry).messages}) if wanted else ""
            findings.note("no_group", entry.where, f"no {split.group_by}{shown}")
