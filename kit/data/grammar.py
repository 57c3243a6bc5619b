"""The phrase grammar: pools of words, intents with questions and answers, as one YAML file holds them.

The format is described in docs/reference/grammar.md; `kit.data.grammar_load` reads and checks it,
`kit.data.synth` makes dialogues from it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from kit.config.yaml_lines import Key

ANY = "any"
"""The key of answers and frames that serve every tone without ones of its own."""
QUESTION = "question"
"""The slot of a frame that stands for the question itself."""
_SLOT = re.compile(r"\{([^{}]*)\}")


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
    """The whole file. Get one that is checked from `kit.data.grammar_load.load_grammar`."""

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
class Use:
    """A template and the key where it stands."""

    key: Key
    text: str


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
    for part in parts_of(pool):
        size *= pool_size(grammar, part)
    return len(pool.values) if pool.values else size


def parts_of(pool: Pool) -> list[str]:
    """The names of the pools that a pool is made from, each once."""
    return list(dict.fromkeys(slot.split(".")[0] for text in made_from(pool) for slot in slots(text)))


def is_held_out(grammar: Grammar, name: str) -> bool:
    """Whether a pool, or a pool it is made from, keeps its test values out of training."""
    pool = grammar.pools[name]
    return pool.held_out or any(is_held_out(grammar, part) for part in parts_of(pool))


def made_from(pool: Pool) -> list[str]:
    """The templates of a pool that is made from others; none for the other kinds."""
    if pool.make is None:
        return []
    return [pool.make] if isinstance(pool.make, str) else list(pool.make.values())


def templates(grammar: Grammar) -> Iterator[Use]:
    """Every text of the grammar that may hold slots, with its key."""
    for name, pool in grammar.pools.items():
        for text in made_from(pool):
            yield Use(("pools", name, "make"), text)
    for language, exchanges in grammar.openings.items():
        for index, exchange in enumerate(exchanges):
            yield Use(("openings", language, index, "user"), exchange.user)
            yield Use(("openings", language, index, "assistant"), exchange.assistant)
    for language, by_tone in grammar.frames.items():
        yield from _uses_in(("frames", language), by_tone)
    for name, intent in grammar.intents.items():
        yield from _uses_in(("intents", name, "questions"), intent.questions)
        yield from _uses_in(("intents", name, "answers", "good"), intent.answers.good)
        yield from _uses_in(("intents", name, "answers", "general"), intent.answers.general)
        for column, value in intent.expected.items():
            for text in texts_in(value):
                yield Use(("intents", name, "expected", column), text)


def _uses_in(key: Key, by_tone: Phrasings) -> Iterator[Use]:
    for tone, phrasings in by_tone.items():
        for index, text in enumerate(phrasings):
            yield Use((*key, tone, index), text)
