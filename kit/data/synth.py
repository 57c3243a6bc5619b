"""Turns a phrase grammar into synthetic dialogues, deterministic by seed.

The split is drawn first and the entities after it, from that split's share of each held-out pool;
so a name or an order number of the test split has never been seen in training.
"""

import hashlib
import random
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from kit.config.errors import DataError, Problem
from kit.data.grammar import ANY, QUESTION, Grammar, Intent, Pool, is_held_out, parts_of, slots
from kit.data.rows import SplitName
from kit.data.same import normal

Mode = Literal["good", "general"]
Row = dict[str, Any]

_MOST_TRIES = 200
"""Draws before we say that a grammar has no new question, or a pool no value for a split."""
_SLOT = re.compile(r"(\{[^{}]*\})")
_WORD = re.compile(r"[^\W\d_]{4,}")


def synthesize(
    grammar: Grammar,
    count: int,
    seed: int,
    answers: Mode = "good",
    languages: Sequence[str] | None = None,
) -> Iterator[Row]:
    """Yield `count` dialogues; row i is the same for any count above i.

    Args:
        grammar: from `kit.data.grammar_load.load_grammar`.
        count: how many rows; no two of them ask the same.
        seed: the same seed gives the same rows; both kinds of answers meet the same questions.
        answers: `good`, or what a `general` model would say, with its faults.
        languages: only these; null means all of the grammar's, in equal shares.

    Yields:
        Rows with `messages` (no system message), `split`, `group` (the first held-out value of the
        question), `synthetic`, `intent`, `topic`, `tone`, `language` and the intent's `expected`.

    Raises:
        DataError: an unknown language, or the grammar has no more new questions.
    """
    by_language = _intents_by_language(grammar, languages)
    seen: set[bytes] = set()
    for index in range(count):
        for attempt in range(_MOST_TRIES):
            rng = random.Random(f"{seed}:{index}:{attempt}")
            dialogue = _ask(grammar, by_language, rng)
            key = hashlib.blake2b(normal(dialogue.prompt).encode(), digest_size=12).digest()
            if key not in seen:
                break
        else:
            raise DataError(
                Problem(
                    where=f"dialogue {index + 1}",
                    message=f"the grammar has no new question after {index} dialogues",
                    hint="ask for fewer dialogues, or add phrasings or values to its pools",
                )
            )
        seen.add(key)
        yield _row(dialogue, _answer(dialogue, answers, rng))


@dataclass
class _Dialogue:
    """A question with everything drawn for it so far."""

    grammar: Grammar
    name: str
    intent: Intent
    language: str
    tone: str
    split: SplitName
    rng: random.Random
    drawn: dict[str, dict[str, str]] = field(default_factory=dict)
    turns: list[dict[str, str]] = field(default_factory=list)
    expected: Row = field(default_factory=dict)
    group: str = ""

    @property
    def prompt(self) -> str:
        return "\n".join(turn["content"] for turn in self.turns)

    def fill(self, text: str, mistake: str | None = None) -> str:
        """Put values into the slots; a mistake touches only the words between them."""
        pieces = _SLOT.split(text)
        literals = pieces[0::2]
        if mistake:
            literals = _mistyped(literals, mistake, self.rng)
        values = [self._value(piece[1:-1]) for piece in pieces[1::2]]
        return "".join(a + b for a, b in zip(literals, [*values, ""], strict=True))

    def _value(self, slot: str) -> str:
        name, _, part = slot.partition(".")
        if name not in self.drawn:
            self.drawn[name] = _draw(self.grammar, name, self.split, self.rng)
        return self.drawn[name][part]


def _intents_by_language(
    grammar: Grammar, languages: Sequence[str] | None
) -> dict[str, tuple[list[str], list[float]]]:
    unknown = [language for language in languages or [] if language not in grammar.languages]
    if unknown:
        raise DataError(
            [
                Problem(
                    "languages",
                    f"the grammar has no dialogues in `{language}`",
                    f"there are: {', '.join(grammar.languages)}",
                )
                for language in unknown
            ]
        )
    found: dict[str, tuple[list[str], list[float]]] = {
        language: ([], []) for language in grammar.languages if not languages or language in languages
    }
    for name, intent in grammar.intents.items():
        if grammar.language_of(intent) in found:
            names, weights = found[grammar.language_of(intent)]
            names.append(name)
            weights.append(intent.weight)
    return found


def _ask(
    grammar: Grammar, by_language: dict[str, tuple[list[str], list[float]]], rng: random.Random
) -> _Dialogue:
    split = _split(rng.random())
    language = rng.choice(list(by_language))
    names, weights = by_language[language]
    name = rng.choices(names, weights)[0]
    intent = grammar.intents[name]
    tone, phrasing = rng.choice(_phrasings(grammar, name))
    dialogue = _Dialogue(grammar, name, intent, language, tone, split, rng)
    openings = grammar.openings.get(language, [])
    if openings and rng.random() < grammar.multi_turn:
        opening = rng.choice(openings)
        dialogue.turns.append({"role": "user", "content": dialogue.fill(opening.user)})
        dialogue.turns.append({"role": "assistant", "content": dialogue.fill(opening.assistant)})
        phrasing = _capitalised(phrasing)
    else:
        phrasing = _framed(grammar, language, tone, phrasing, rng)
    mistake = None
    if rng.random() < grammar.mistakes:
        mistake = rng.choice(["swap", "drop", "double", "plain"])
    dialogue.turns.append({"role": "user", "content": dialogue.fill(phrasing, mistake)})
    dialogue.group = next(
        dialogue.fill("{" + slot + "}")
        for slot in slots(phrasing)
        if is_held_out(grammar, slot.split(".")[0])
    )
    dialogue.expected = {column: _fill_all(dialogue, value) for column, value in intent.expected.items()}
    return dialogue


def _phrasings(grammar: Grammar, name: str) -> list[tuple[str, str]]:
    """Every phrasing with its tone; tones with more phrasings are met more often."""
    questions = grammar.intents[name].questions
    return [(tone, text) for tone, texts in questions.items() for text in texts]


def _framed(grammar: Grammar, language: str, tone: str, phrasing: str, rng: random.Random) -> str:
    by_tone = grammar.frames.get(language, {})
    frames = by_tone.get(tone) or by_tone.get(ANY) or ["{" + QUESTION + "}"]
    before, _, after = rng.choice(frames).partition("{" + QUESTION + "}")
    return before + (_capitalised(phrasing) if _begins_sentence(before) else phrasing) + after


def _begins_sentence(before: str) -> bool:
    return before.rstrip()[-1:] in ("", ".", "!", "?")


def _capitalised(text: str) -> str:
    """The first letter as a capital, past an opening mark; a slot at the start stays as it is."""
    start = re.match(r"[¿¡«\"']*", text)
    at = start.end() if start else 0
    return text[:at] + text[at : at + 1].upper() + text[at + 1 :]


def _answer(dialogue: _Dialogue, mode: Mode, rng: random.Random) -> str:
    answers = dialogue.intent.answers.good if mode == "good" else dialogue.intent.answers.general
    return dialogue.fill(rng.choice(answers.get(dialogue.tone) or answers[ANY]))


def _row(dialogue: _Dialogue, answer: str) -> Row:
    return {
        "messages": [*dialogue.turns, {"role": "assistant", "content": answer}],
        "split": dialogue.split,
        "group": dialogue.group,
        "synthetic": True,
        "intent": dialogue.name,
        "topic": dialogue.intent.topic,
        "tone": dialogue.tone,
        "language": dialogue.language,
        **dialogue.expected,
    }


def _fill_all(dialogue: _Dialogue, value: Any) -> Any:
    if isinstance(value, str):
        return dialogue.fill(value)
    if isinstance(value, list):
        return [_fill_all(dialogue, item) for item in value]
    return value


def _split(share: float) -> SplitName:
    """80/10/10 from a number in [0, 1)."""
    return "train" if share < 0.8 else "valid" if share < 0.9 else "test"


def _draw(grammar: Grammar, name: str, split: SplitName, rng: random.Random) -> dict[str, str]:
    """A value of a pool as its fields; a plain text has the one field ""."""
    pool = grammar.pools[name]
    for _ in range(_MOST_TRIES):
        value = _draw_any(grammar, pool, split, rng)
        if not pool.held_out or _split_of(name, "\0".join(value.values())) == split:
            return value
    raise DataError(
        Problem(f"pool `{name}`", f"no value of it falls into the {split} split", "give it more values")
    )


def _draw_any(grammar: Grammar, pool: Pool, split: SplitName, rng: random.Random) -> dict[str, str]:
    if pool.numbers:
        numbers = range(pool.numbers.low, pool.numbers.high + 1, pool.numbers.step)
        return {"": str(rng.choice(numbers))}
    if pool.values:
        value = rng.choice(pool.values)
        return {"": value} if isinstance(value, str) else value
    made = {"": pool.make} if isinstance(pool.make, str) else pool.make or {}
    parts = {part: _draw(grammar, part, split, rng) for part in parts_of(pool)}
    return {name: _join(text, parts) for name, text in made.items()}


def _join(text: str, parts: dict[str, dict[str, str]]) -> str:
    for slot in slots(text):
        name, _, part = slot.partition(".")
        text = text.replace("{" + slot + "}", parts[name][part])
    return text


@lru_cache(maxsize=200_000)
def _split_of(pool: str, value: str) -> SplitName:
    """Which split a held-out value belongs to: by its hash, so the same in every grammar and run."""
    digest = hashlib.blake2b(f"{pool}\0{value}".encode(), digest_size=4).digest()
    return _split(int.from_bytes(digest, "big") / 2**32)


def _mistyped(literals: list[str], mistake: str, rng: random.Random) -> list[str]:
    """One typing mistake in one word, or everything in plain lower case without accents."""
    if mistake == "plain":
        return [_plain(literal) for literal in literals]
    places = [(index, word.span()) for index, text in enumerate(literals) for word in _WORD.finditer(text)]
    if not places:
        return literals
    index, (start, end) = rng.choice(places)
    text, at = literals[index], rng.randrange(start + 1, end - 1)
    changed = {
        "swap": text[:at] + text[at + 1] + text[at] + text[at + 2 :],
        "drop": text[:at] + text[at + 1 :],
        "double": text[:at] + text[at] + text[at:],
    }[mistake]
    return [*literals[:index], changed, *literals[index + 1 :]]


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
