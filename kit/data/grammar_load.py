"""Reads a phrase grammar and checks it whole, so that every mistake in it is met at once.

Every slot must lead to a pool, and every question must name something that is held out, so that no
question of the test split can have been met in training.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kit.config.errors import DataError, Problem
from kit.config.explain import shorten, suggest
from kit.config.yaml_lines import Key, Lines, load_yaml
from kit.data.grammar import (
    ANY,
    QUESTION,
    Grammar,
    Phrasings,
    Pool,
    is_held_out,
    parts_of,
    pool_size,
    slots,
    templates,
    texts_in,
)

FEWEST_HELD_OUT = 50
"""Fewer values than this cannot be divided 80/10/10 with something to learn from in each part."""

_SLOT_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?")
_BRACES = re.compile(r"\{[^{}]*\}")


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


Finding = tuple[Key, str, str]


def _check(grammar: Grammar) -> list[Finding]:
    """What the schema cannot see; later checks are left out where earlier ones make them moot."""
    found = [*_check_pools(grammar), *_check_languages(grammar), *_check_slots(grammar)]
    if found:
        return found
    return [
        *_check_held_out(grammar),
        *_check_expected(grammar),
        *_check_tones(grammar),
        *_check_frames(grammar),
        *_unused(grammar),
    ]


def _check_pools(grammar: Grammar) -> Iterator[Finding]:
    for name, pool in grammar.pools.items():
        key: Key = ("pools", name)
        given = [bool(pool.values), pool.numbers is not None, pool.make is not None]
        if sum(given) != 1:
            yield key, f"pool `{name}` needs exactly one of values, numbers and make", ""
        if len({frozenset(_fields_of(value)) for value in pool.values}) > 1:
            yield key, f"the values of `{name}` have different fields", "give every value the same fields"
        if _made_from_itself(grammar, name):
            yield key, f"pool `{name}` is made from itself", "a pool is made from other pools"


def _made_from_itself(grammar: Grammar, name: str) -> bool:
    seen: set[str] = set()
    waiting = parts_of(grammar.pools[name])
    while waiting:
        part = waiting.pop()
        if part not in seen and part in grammar.pools:
            seen.add(part)
            waiting += parts_of(grammar.pools[part])
    return name in seen


def _check_languages(grammar: Grammar) -> Iterator[Finding]:
    for section in ("frames", "openings"):
        for language in getattr(grammar, section):
            if language not in grammar.languages:
                yield (
                    (section, language),
                    f"unknown language `{language}`",
                    _allowed(grammar.languages, language),
                )
    for name, intent in grammar.intents.items():
        if grammar.language_of(intent) not in grammar.languages:
            yield (
                ("intents", name, "language"),
                f"unknown language `{intent.language}`",
                _allowed(grammar.languages, str(intent.language)),
            )
    spoken = {grammar.language_of(intent) for intent in grammar.intents.values()}
    for language in grammar.languages:
        if language not in spoken:
            yield ("languages",), f"no intent is in `{language}`", "add one, or drop the language"


def _check_slots(grammar: Grammar) -> Iterator[Finding]:
    for use in templates(grammar):
        if use.key[0] == "frames" and "{" + QUESTION + "}" not in use.text:
            yield use.key, "a frame without {question}", "write {question} where the question goes"
        stripped = _BRACES.sub("", use.text)
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


def _check_expected(grammar: Grammar) -> Iterator[Finding]:
    """A fact that stands neither in the questions nor in the good answers is drawn for itself alone."""
    for name, intent in grammar.intents.items():
        spoken = (*intent.questions.values(), *intent.answers.good.values())
        texts = [text for phrasings in spoken for text in phrasings]
        told = {slot.split(".")[0] for text in texts for slot in slots(text)}
        for column, value in intent.expected.items():
            for slot in (slot for text in texts_in(value) for slot in slots(text)):
                if slot.split(".")[0] not in told:
                    yield (
                        ("intents", name, "expected", column),
                        f"{{{slot}}} is expected, but no question or good answer of the intent names it",
                        "use the slot in the texts, or expect something else",
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


def _fields_of(value: str | dict[str, str]) -> set[str]:
    return {""} if isinstance(value, str) else set(value)


def _pool_fields(pool: Pool) -> set[str]:
    if isinstance(pool.make, dict):
        return set(pool.make)
    return _fields_of(pool.values[0]) if pool.values else {""}


def _allowed(choices: Iterable[str], found: str) -> str:
    return suggest(found, sorted(choices), "there are")


def _schema_problem(path: Path, lines: Lines, details: Any) -> Problem:
    key: Key = tuple(details["loc"])
    name = ".".join(str(part) for part in key) or "the file"
    if details["type"] == "extra_forbidden":
        message, hint = f"unknown key `{name}`", "see docs/reference/grammar.md for the keys there are"
    elif details["type"] == "missing":
        message, hint = f"`{name}` is missing", "add it"
    else:
        message, hint = f"`{name}`: {details['msg']}", f"found {shorten(details['input'])}"
    return Problem(_where(path, lines, key), message, hint)


def _where(path: Path, lines: Lines, key: Key) -> str:
    """`file:line` of the key, or of the nearest key above it that stands in the file.

    A list that serves every tone stands without the key `any` in the file.
    """
    written = tuple(part for part in key if part != ANY)
    for candidate in (key, written):
        if candidate in lines:
            return f"{path}:{lines[candidate]}"
    return _where(path, lines, key[:-1]) if key else f"{path}:1"
