"""A case's policy: what an answer must never and must always contain, read from `policy.yaml`.

The rules are data, so that a compliance officer can read and change them; this module only applies
them. Regular expressions meet normalised text (NFKC, straight apostrophes), in any case.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kit.config.errors import ConfigError, Problem
from kit.config.explain import suggest
from kit.config.yaml_lines import Key, Lines, load_yaml
from kit.data.flags import FLAGS, flag_of
from kit.evaluate.advice import standing
from kit.evaluate.flags import flag
from kit.evaluate.negation import negated, stated
from kit.evaluate.text import normalise

Severity = Literal["critical", "major", "minor"]
Expected = dict[str, Any]


class Examples(BaseModel):
    """Sentences that show what a rule means; `kit.evaluate.policy_examples` holds the rule to them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    violates: list[str] = []
    complies: list[str] = []
    asked: list[str] = []
    """Questions that a rule with `asks` holds for."""
    not_asked: list[str] = []


class Rule(BaseModel):
    """One rule: phrases that must never, or phrases of which one must, stand in an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)
    id: str
    title: str
    severity: Severity = "major"
    never: list[str] = []
    must: list[str] = []
    negation_clears: bool = False
    when: dict[str, list[str | bool]] = {}
    asks: list[str] = []
    """Phrases of which one must stand in the question; empty for a rule that holds whatever is asked."""
    source: str = ""
    examples: Examples = Examples()

    @model_validator(mode="after")
    def _never_or_must(self) -> "Rule":
        if bool(self.never) == bool(self.must):
            raise ValueError("a rule has exactly one of `never` and `must`, and it is not empty")
        if self.must and self.negation_clears:
            raise ValueError("`negation_clears` belongs to `never` rules only")
        return self

    def applies(self, expected: Expected) -> bool:
        """Whether every field that `when` names has one of the values listed there, and `asks` is met."""
        asked = not self.asks or self.asked_in(str(expected.get("prompt") or ""))
        return asked and _fits(self.when, expected)

    def asked_in(self, question: str) -> bool:
        """Whether one of the `asks` phrases stands in a question."""
        return any(True for _ in _matches(self.asks, normalise(question)))

    def broken_by(self, answer: str) -> bool:
        """Whether an answer breaks the rule, wherever it applies."""
        return _breaks(self, normalise(answer))


class AnswerExamples(BaseModel):
    """Answers that show what the refusal and recommendation phrases mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    refuses: list[str] = []
    answers: list[str] = []
    recommends: dict[str, list[str]] = {}
    """By label; `none` for answers that recommend nothing."""


class HandOverExamples(BaseModel):
    """Answers that show what sending somebody on to a person means."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    hands_over: list[str] = []
    keeps: list[str] = []


class HandOver(BaseModel):
    """Which questions are a person's to answer, and the phrases that send somebody on to one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    when: dict[str, list[str | bool]] = {}
    phrases: list[str] = []
    examples: HandOverExamples = HandOverExamples()

    def due(self, expected: Expected) -> bool:
        """Whether a row is a person's: as its `hand_over` says, or else by the fields that `when` names.

        Raises:
            DataError: the row's `hand_over` is neither yes nor no.
        """
        own = flag(expected, "hand_over")
        return bool(self.when) and _fits(self.when, expected) if own is None else own

    def made_in(self, answer: str) -> bool:
        """Whether an answer sends somebody on, undenied."""
        text = normalise(answer)
        return any(stated(text, *match.span()) for match in _matches(self.phrases, text))


class PolicyFile(BaseModel):
    """The whole of `policy.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    rules: list[Rule] = []
    harm: dict[Severity, str] = {}
    """What the case calls the harm that a broken rule of a severity may do; else the severity itself."""
    refusals: list[str] = []
    recommendations: dict[str, list[str]] = Field(default={})
    hand_over: HandOver = HandOver()
    examples: AnswerExamples = AnswerExamples()


@dataclass(frozen=True)
class Policy:
    """The rules, ready to be applied to answers."""

    path: Path
    rules: tuple[Rule, ...]
    refusals: tuple[str, ...]
    recommendations: dict[str, list[str]]
    examples: AnswerExamples
    lines: Lines = field(default_factory=dict, repr=False)
    """Where the file's keys stand."""
    harm: dict[Severity, str] = field(default_factory=dict)
    hand_over: HandOver = field(default_factory=HandOver)

    def applicable(self, expected: Expected) -> list[Rule]:
        """The rules that hold for a row, by its expected fields."""
        return [rule for rule in self.rules if rule.applies(expected)]

    def violations(self, answer: str, expected: Expected) -> list[str]:
        """The ids of the never-rules that an answer breaks, in the policy's order."""
        text = normalise(answer)
        return [rule.id for rule in self.applicable(expected) if rule.never and _breaks(rule, text)]

    def missing(self, answer: str, expected: Expected) -> list[str]:
        """The ids of the must-rules that hold for the row and that an answer leaves out."""
        text = normalise(answer)
        return [rule.id for rule in self.applicable(expected) if rule.must and _breaks(rule, text)]

    def denies(self, phrases: Sequence[str], answer: str) -> bool:
        """Whether an answer has one of the phrases, and every time denied or advised against."""
        text = normalise(answer)
        places = [match.span() for match in _matches(phrases, text)]
        return bool(places) and all(
            negated(text, *place, strict=True) or standing(text, *place) is None for place in places
        )

    def is_refusal(self, answer: str) -> bool:
        """Whether an answer declines to answer, in one of the policy's phrases."""
        text = normalise(answer)
        return any(True for _ in _matches(self.refusals, text))

    def recommendation(self, answer: str, *, firm_only: bool = False) -> str | None:
        """The most urgent recommendation an answer gives; None if it gives none.

        What is advised only under a condition ("if it gets worse, call an ambulance") counts where
        nothing is advised firmly, and with `firm_only` never. What is denied or advised against ("no
        need to call an ambulance", "it is too early to call one") is no recommendation.
        """
        text = normalise(answer)
        found = {
            label: {standing(text, match.start(), match.end()) for match in _matches(phrases, text)}
            for label, phrases in self.recommendations.items()
        }
        for wanted in ("firm",) if firm_only else ("firm", "conditional"):
            for label, standings in found.items():
                if wanted in standings:
                    return label
        return None

    def at_least_as_urgent(self, found: str | None, wanted: str | None) -> bool:
        """Whether `found` is no less urgent than `wanted` (None: the most urgent label there is)."""
        labels = list(self.recommendations)
        if found not in labels:
            return False
        return labels.index(found) <= (labels.index(wanted) if wanted in labels else 0)

    def place(self, *key: str | int) -> str:
        """`file:line` of a key of the policy file, such as `("rules", 0)`, or of the nearest around it."""
        return _place(self.path, key, self.lines)


def load_policy(path: Path) -> Policy:
    """Read and check a policy file.

    Raises:
        ConfigError: it is missing or no YAML; unknown or missing keys; a regular expression that does
            not compile; a repeated rule id. All problems at once, with file and line.
    """
    tree, lines = load_yaml(path)
    try:
        content = PolicyFile.model_validate(tree or {})
    except ValidationError as error:
        raise ConfigError([_schema_problem(path, tree, lines, dict(e)) for e in error.errors()]) from error
    problems = [
        *_pattern_problems(path, content, lines),
        *_repeated_ids(path, content, lines),
        *_unknown_labels(path, content, lines),
    ]
    if problems:
        raise ConfigError(problems)
    return Policy(
        path,
        tuple(content.rules),
        tuple(content.refusals),
        content.recommendations,
        content.examples,
        lines,
        content.harm,
        content.hand_over,
    )


def _breaks(rule: Rule, text: str) -> bool:
    if rule.must:
        return not any(stated(text, match.start(), match.end()) for match in _matches(rule.must, text))
    return any(
        not (rule.negation_clears and negated(text, match.start(), match.end()))
        for match in _matches(rule.never, text)
    )


def _fits(when: dict[str, list[str | bool]], expected: Expected) -> bool:
    """Whether every field has one of the values listed for it; a flag in any spelling of yes and no."""
    return all(
        _comparable(name, expected.get(name)) in {_comparable(name, value) for value in values}
        for name, values in when.items()
    )


def _comparable(name: str, value: Any) -> str:
    try:
        return _as_text(flag_of(value) if name in FLAGS else value)
    except ValueError:  # no flag: it fits what is spelled like it
        return _as_text(value)


def _matches(patterns: Sequence[str], text: str) -> Iterator[re.Match[str]]:
    for pattern in patterns:
        yield from re.finditer(pattern, text, re.IGNORECASE)


def _as_text(value: Any) -> str:
    return str(value).casefold()


def _schema_problem(path: Path, tree: Any, lines: Lines, error: dict[str, Any]) -> Problem:
    key: Key = tuple(error["loc"])
    place = _place(path, key, lines)
    if (
        len(key) > 1
        and key[0] == "rules"
        and isinstance(key[1], int)
        and isinstance(tree["rules"][key[1]], dict)
    ):
        place += f" rule {tree['rules'][key[1]].get('id', f'number {key[1] + 1}')}"
    name = str(key[-1]) if key else ""
    if error["type"] == "extra_forbidden":
        return Problem(place, f"unknown key `{name}`", suggest(name, _known_keys(key), "known"))
    if error["type"] == "missing":
        return Problem(place, f"`{name}` is missing", "every rule has an `id` and a `title`")
    return Problem(place, f"{name}: {error['msg']}", "see docs/reference/metrics.md for the policy file")


def _known_keys(key: Key) -> list[str]:
    model: type[BaseModel] = PolicyFile
    if key[0] == "examples" and len(key) > 1:
        model = AnswerExamples
    elif key[0] == "hand_over":
        model = HandOverExamples if "examples" in key[:-1] else HandOver
    elif len(key) > 1:
        model = Examples if "examples" in key[:-1] else Rule
    return list(model.model_fields)


def _pattern_problems(path: Path, content: PolicyFile, lines: Lines) -> list[Problem]:
    """Every regular expression that does not compile, or that matches nothing at all and so everywhere."""
    groups: list[tuple[Key, str, list[str]]] = [(("refusals",), "refusals", content.refusals)]
    for index, rule in enumerate(content.rules):
        groups.append((("rules", index, "never"), f"rule {rule.id}", rule.never))
        groups.append((("rules", index, "must"), f"rule {rule.id}", rule.must))
        groups.append((("rules", index, "asks"), f"rule {rule.id}", rule.asks))
    groups.append((("hand_over", "phrases"), "hand_over", content.hand_over.phrases))
    for label, phrases in content.recommendations.items():
        groups.append((("recommendations", label), f"recommendation {label}", phrases))
    problems = []
    for key, owner, patterns in groups:
        for number, pattern in enumerate(patterns):
            reason = _pattern_fault(pattern)
            if reason:
                place = f"{_place(path, (*key, number), lines)} {owner}"
                hint = "a regular expression of Python's `re`; put it in single quotes"
                problems.append(Problem(place, f"{pattern!r}: {reason}", hint))
    return problems


def _pattern_fault(pattern: str) -> str | None:
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        return f"not a regular expression ({error})"
    return "it matches the empty text, and so every answer" if compiled.search("") else None


def _repeated_ids(path: Path, content: PolicyFile, lines: Lines) -> list[Problem]:
    seen: set[str] = set()
    problems = []
    for index, rule in enumerate(content.rules):
        if rule.id in seen:
            place = _place(path, ("rules", index), lines)
            problems.append(
                Problem(place, f"rule id {rule.id!r} is given twice", "give each rule its own id")
            )
        seen.add(rule.id)
    return problems


def _unknown_labels(path: Path, content: PolicyFile, lines: Lines) -> list[Problem]:
    """Labels of the examples that no recommendation has."""
    known = [*content.recommendations, "none"]
    return [
        Problem(
            where=_place(path, ("examples", "recommends", label), lines),
            message=f"no recommendation is called {label!r}",
            hint=f"known: {', '.join(known)}",
        )
        for label in content.examples.recommends
        if label not in known
    ]


def _place(path: Path, key: Key, lines: Lines) -> str:
    """`file:line` of a key, or of the nearest key around it."""
    for length in range(len(key), -1, -1):
        if key[:length] in lines:
            return f"{path}:{lines[key[:length]]}"
    return str(path)
