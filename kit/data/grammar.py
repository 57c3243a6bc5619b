"""The phrase grammar: pools of words, intents with questions and answers, read from one YAML file.

The format is described in docs/reference/grammar.md. A grammar is checked when it is loaded: every
slot must lead to a pool, and every question must name something that is held out, so that no
question of the test split can have been met in training.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kit.config.errors import DataError, Problem
from kit.config.explain import nearest
from kit.config.yaml_lines import Key, Lines, load_yaml

ANY = "any"
"""The key of answers and frames that serve every tone without ones of its own."""
QUESTION = "question"
"""The slot of a frame that stands for the question itself."""
FEWEST_HELD_OUT = 50
"""Fewer values than this cannot be divided 80/10/10 with something to learn from in each part."""

_SLOT = re.compile(r"\{([^{}]*)\}")
_SLOT_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?")


def _any_tone(value: Any) -> Any:
    return {ANY: value} if isinstance(value, list) else value


Phrasings = dict[str, Annotated[list[str], Field(min_length=1)]]
ByTone = Annotated[Phrasings, BeforeValidator(_any_tone)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Numbers(_Part):
    """Whole numbers from `low` to `high` (both included) in steps."""

    low: int
    high: int
    step: int = Field(default=1, gt=0)


class Pool(_Part):
    """What a slot is filled from: a list, a range of numbers, or a text made from other pools."""

    values: list[str | dict[str, str]] = []
    numbers: Numbers | None = None
    make: dict[str, str] | str | None = None
    held_out: bool = False
    """Divide the values 80/10/10: one that stands in train never stands in valid or test."""


class Exchange(_Part):
    """An earlier turn of the user and the assistant's reply, put before the question."""

    user: str
    assistant: str


class Answers(_Part):
    """What the assistant should say, and what a general model would say; by tone, or for any."""

    good: ByTone
    general: ByTone


class Intent(_Part):
    """One thing people ask for, in one language."""

    topic: str
    language: str | None = None
    """One of the grammar's languages; null takes the first."""
    weight: float = Field(default=1.0, gt=0)
    """How often it is asked, against the other intents of its language."""
    expected: dict[str, Any] = {}
    """Labels and facts for metrics; texts in them may hold slots."""
    questions: Phrasings
    """Phrasings by tone."""
    answers: Answers


class Grammar(_Part):
    """A checked grammar. Made by `load_grammar`."""

    languages: list[str] = Field(min_length=1)
    mistakes: float = Field(default=0.0, ge=0, le=1)
    """Share of questions with a typing mistake."""
    multi_turn: float = Field(default=0.0, ge=0, le=1)
    """Share of dialogues that begin with one of the openings of their language."""
    openings: dict[str, list[Exchange]] = {}
    frames: dict[str, ByTone] = {}
    """What people write around a question, by language and tone; each holds `{question}`."""
    pools: dict[str, Pool]
    intents: dict[str, Intent] = Field(min_length=1)

    def language_of(self, intent: Intent) -> str:
        """The intent's language, or the grammar's first."""
        return intent.language or self.languages[0]


@dataclass(frozen=True)
class _Use:
    """A template and the key where it stands."""

    key: Key
    text: str


def load_grammar(path: Path) -> Grammar:
    """Read and check a grammar.

    Raises:
        ConfigError: the file is missing or is not YAML.
        DataError: every problem of the grammar at once, each with file, line and hint.
    """
    tree, lines = load_yaml(path)
    try:
        grammar = Grammar.model_validate(tree)
    except ValidationError as error:
        raise DataError([_schema_problem(path, lines, details) for details in error.errors()]) from error
    problems = [Problem(_where(path, lines, key), message, hint) for key, message, hint in _check(grammar)]
    if problems:
        raise DataError(problems)
    return grammar


def slots(text: str) -> list[str]:
    """The names between braces, in order: `"{order} of {item.fr}"` gives `["order", "item.fr"]`."""
    return _SLOT.findall(text)


def texts_in(value: Any) -> Iterator[str]:
    """Every text inside a value of `expected`, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


def pool_size(grammar: Grammar, name: str) -> int:
    """How many different values a pool can give (an upper bound where a part repeats)."""
    pool = grammar.pools[name]
    if pool.numbers:
        return (pool.numbers.high - pool.numbers.low) // pool.numbers.step + 1
    size = 1
    for part in {slot.split(".")[0] for text in _made(pool) for slot in slots(text)}:
        size *= pool_size(grammar, part)
    return len(pool.values) if pool.values else size


def is_held_out(grammar: Grammar, name: str) -> bool:
    """Whether a pool, or a pool it is made from, keeps its test values out of training."""
    pool = grammar.pools[name]
    parts = {slot.split(".")[0] for text in _made(pool) for slot in slots(text)}
    return pool.held_out or any(is_held_out(grammar, part) for part in parts)


def _made(pool: Pool) -> list[str]:
    if pool.make is None:
        return []
    return [pool.make] if isinstance(pool.make, str) else list(pool.make.values())


Finding = tuple[Key, str, str]


def _check(grammar: Grammar) -> list[Finding]:
    """What the schema cannot see; later checks are left out where earlier ones make them moot."""
    found = [*_check_pools(grammar), *_check_languages(grammar), *_check_slots(grammar)]
    if found:
        return found
    return [*_check_held_out(grammar), *_check_tones(grammar), *_check_frames(grammar), *_unused(grammar)]


def _check_pools(grammar: Grammar) -> Iterator[Finding]:
    for name, pool in grammar.pools.items():
        key: Key = ("pools", name)
        given = [bool(pool.values), pool.numbers is not None, pool.make is not None]
        if sum(given) != 1:
            yield key, f"pool `{name}` needs exactly one of values, numbers and make", ""
        if len({frozenset(_fields_of(value)) for value in pool.values}) > 1:
            yield key, f"the values of `{name}` have different fields", "give every value the same fields"
        if _reaches(grammar, name, name, set()):
            yield key, f"pool `{name}` is made from itself", "a pool is made from other pools"


def _reaches(grammar: Grammar, start: str, target: str, seen: set[str]) -> bool:
    for text in _made(grammar.pools[start]):
        for slot in slots(text):
            part = slot.split(".")[0]
            if part == target:
                return True
            if part in grammar.pools and part not in seen:
                seen.add(part)
                if _reaches(grammar, part, target, seen):
                    return True
    return False


def _check_languages(grammar: Grammar) -> Iterator[Finding]:
    for section in ("frames", "openings"):
        for language in getattr(grammar, section):
            if language not in grammar.languages:
                yield (section, language), f"unknown language `{language}`", _allowed(grammar.languages)
    for name, intent in grammar.intents.items():
        if grammar.language_of(intent) not in grammar.languages:
            yield (
                ("intents", name, "language"),
                f"unknown language `{intent.language}`",
                _allowed(grammar.languages),
            )
    spoken = {grammar.language_of(intent) for intent in grammar.intents.values()}
    for language in grammar.languages:
        if language not in spoken:
            yield ("languages",), f"no intent is in `{language}`", "add one, or drop the language"


def _check_slots(grammar: Grammar) -> Iterator[Finding]:
    for use in templates(grammar):
        if use.key[0] == "frames" and "{" + QUESTION + "}" not in use.text:
            yield use.key, "a frame without {question}", "write {question} where the question goes"
        stripped = _SLOT.sub("", use.text)
        if "{" in stripped or "}" in stripped:
            yield use.key, f"a brace without its partner in {use.text!r}", "slots look like {order}"
        for slot in slots(use.text):
            if use.key[0] == "frames" and slot == QUESTION:
                continue
            yield from _check_slot(grammar, use.key, slot)


def _check_slot(grammar: Grammar, key: Key, slot: str) -> Iterator[Finding]:
    if not _SLOT_NAME.fullmatch(slot):
        yield key, f"{{{slot}}} is not a slot", "slots look like {order} or {item.name}"
        return
    name, _, field = slot.partition(".")
    if name not in grammar.pools:
        yield key, f"unknown pool `{name}` in {{{slot}}}", _allowed(grammar.pools, name)
        return
    fields = _pool_fields(grammar.pools[name])
    if field not in fields:
        wanted = [f"{{{name}.{known}}}" if known else f"{{{name}}}" for known in sorted(fields)]
        yield key, f"pool `{name}` has no value for {{{slot}}}", f"it offers {', '.join(wanted)}"


def _check_held_out(grammar: Grammar) -> Iterator[Finding]:
    for name, pool in grammar.pools.items():
        if pool.held_out and pool_size(grammar, name) < FEWEST_HELD_OUT:
            yield (
                ("pools", name),
                f"pool `{name}` is held out but has only {pool_size(grammar, name)} values",
                f"give it at least {FEWEST_HELD_OUT}, for instance by making it from two pools",
            )
    for name, intent in grammar.intents.items():
        for tone, phrasings in intent.questions.items():
            for index, text in enumerate(phrasings):
                if not any(is_held_out(grammar, slot.split(".")[0]) for slot in slots(text)):
                    yield (
                        ("intents", name, "questions", tone, index),
                        "the question names nothing that is held out, so test could repeat train",
                        "name a held-out pool in it, such as an order number or a person",
                    )


def _check_tones(grammar: Grammar) -> Iterator[Finding]:
    for name, intent in grammar.intents.items():
        for mode in ("good", "general"):
            answers: Phrasings = getattr(intent.answers, mode)
            key: Key = ("intents", name, "answers", mode)
            for tone in answers:
                if tone != ANY and tone not in intent.questions:
                    yield (*key, tone), f"no question has the tone `{tone}`", _allowed(intent.questions, tone)
            for tone in intent.questions:
                if tone not in answers and ANY not in answers:
                    yield key, f"no {mode} answer to questions of tone `{tone}`", f"add `{tone}:` or `any:`"


def _check_frames(grammar: Grammar) -> Iterator[Finding]:
    for language, by_tone in grammar.frames.items():
        tones = {
            tone
            for intent in grammar.intents.values()
            if grammar.language_of(intent) == language
            for tone in intent.questions
        }
        for tone in by_tone:
            if tone not in (ANY, *tones):
                yield ("frames", language, tone), f"no question has the tone `{tone}`", _allowed(tones, tone)


def _unused(grammar: Grammar) -> Iterator[Finding]:
    used = {slot.split(".")[0] for use in templates(grammar) for slot in slots(use.text)}
    for name in grammar.pools:
        if name not in used:
            yield ("pools", name), f"pool `{name}` is used nowhere", "use it in a text, or remove it"


def templates(grammar: Grammar) -> Iterator[_Use]:
    """Every text of the grammar that may hold slots, with its key."""
    for name, pool in grammar.pools.items():
        for text in _made(pool):
            yield _Use(("pools", name, "make"), text)
    for language, exchanges in grammar.openings.items():
        for index, exchange in enumerate(exchanges):
            yield _Use(("openings", language, index, "user"), exchange.user)
            yield _Use(("openings", language, index, "assistant"), exchange.assistant)
    for language, by_tone in grammar.frames.items():
        yield from _uses(("frames", language), by_tone)
    for name, intent in grammar.intents.items():
        yield from _uses(("intents", name, "questions"), intent.questions)
        yield from _uses(("intents", name, "answers", "good"), intent.answers.good)
        yield from _uses(("intents", name, "answers", "general"), intent.answers.general)
        for column, value in intent.expected.items():
            for text in texts_in(value):
                yield _Use(("intents", name, "expected", column), text)


def _uses(key: Key, by_tone: Phrasings) -> Iterator[_Use]:
    for tone, phrasings in by_tone.items():
        for index, text in enumerate(phrasings):
            yield _Use((*key, tone, index), text)


def _fields_of(value: str | dict[str, str]) -> set[str]:
    return {""} if isinstance(value, str) else set(value)


def _pool_fields(pool: Pool) -> set[str]:
    if isinstance(pool.make, dict):
        return set(pool.make)
    return _fields_of(pool.values[0]) if pool.values else {""}


def _allowed(choices: Iterable[str], found: str = "") -> str:
    listed = sorted(choices)
    near = nearest(found, listed)
    return f"{f'did you mean `{near}`? ' if near else ''}there are: {', '.join(listed) or 'none'}"


def _schema_problem(path: Path, lines: Lines, details: Any) -> Problem:
    key: Key = tuple(details["loc"])
    name = ".".join(str(part) for part in key) or "the file"
    if details["type"] == "extra_forbidden":
        message, hint = f"unknown key `{name}`", "see docs/reference/grammar.md for the keys there are"
    elif details["type"] == "missing":
        message, hint = f"`{name}` is missing", "add it"
    else:
        found = repr(details["input"])
        found = found if len(found) <= 60 else found[:57] + "..."
        message, hint = f"`{name}`: {details['msg']}", f"found {found}"
    return Problem(_where(path, lines, key), message, hint)


def _where(path: Path, lines: Lines, key: Key) -> str:
    """`file:line` of the key, or of the nearest key above it that stands in the file."""
    while key and key not in lines:
        key = key[:-2] + key[-1:] if key[-2:-1] == (ANY,) and key[:-2] + key[-1:] in lines else key[:-1]
    return f"{path}:{lines.get(key, 1)}"
