"""Checks answers before Copier sees them: it ignores a misspelt question and stops at the first fault."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from kit.config.errors import ConfigError, Problem
from kit.config.explain import suggest
from kit.scaffold.source import Question, questions

Answers = dict[str, object]


def parse_answers(words: Sequence[str]) -> Answers:
    """`["ci=gitlab", "languages=en,fr"]` as a mapping; values stay text.

    Raises:
        ConfigError: every word that is not `key=value`.
    """
    problems = [
        Problem(f"--answer {word}", "expected key=value", "for example --answer ci=gitlab")
        for word in words
        if not word.partition("=")[0].strip() or "=" not in word
    ]
    if problems:
        raise ConfigError(problems)
    return {word.partition("=")[0].strip(): word.partition("=")[2].strip() for word in words}


def check_answers(root: Path, answers: Mapping[str, object], defaults: bool) -> Answers:
    """The answers as Copier wants them: known questions, allowed choices, lists where lists are meant.

    Args:
        root: the scaffold, with `copier.yml`.
        answers: what was given, by question.
        defaults: nothing else will be asked, so a question without a default must be answered here.

    Raises:
        ConfigError: every answer that is wrong, with what is allowed and the nearest to what was meant.
    """
    asked = {question.name: question for question in questions(root) if question.asked}
    problems = [_unknown(name, list(asked)) for name in answers if name not in asked]
    checked: Answers = {}
    for name, question in asked.items():
        if name not in answers:
            if defaults and question.needed:
                problems.append(_unanswered(question))
            continue
        value = as_list(answers[name]) if question.multiselect else answers[name]
        checked[name] = value
        if question.choices and value not in question.choices:
            problems.append(not_a_choice(name, str(value), question.choices))
    if not problems and "languages" in checked and "recipe" in checked:
        problems = _unserved(root, str(checked["recipe"]), as_list(checked["languages"]))
    if problems:
        raise ConfigError(problems)
    return checked


def not_a_choice(name: str, found: str, allowed: Sequence[str]) -> Problem:
    """The problem of an answer that is not among the choices."""
    return Problem(name, f"{found!r} is no {name}", suggest(found, allowed))


def as_list(value: object) -> list[str]:
    """A list given as one: `[en, fr]`, or the text `en,fr` or `[en, fr]` of a command line."""
    if isinstance(value, str):
        return [part.strip() for part in value.strip("[]").split(",") if part.strip()]
    return [str(part) for part in value] if isinstance(value, list | tuple) else [str(value)]


def _unknown(name: str, known: list[str]) -> Problem:
    return Problem(name, "no such question", suggest(name, known, "the questions are"))


def _unanswered(question: Question) -> Problem:
    example = question.choices[0] if question.choices else "…"
    option = f"--recipe {example}" if question.name == "recipe" else f"--answer {question.name}={example}"
    allowed = f"; allowed: {', '.join(question.choices)}" if question.choices else ""
    return Problem(question.name, "needs an answer, it has no default", f"give {option}{allowed}")


def _unserved(root: Path, recipe: str, languages: list[str]) -> list[Problem]:
    tree = yaml.safe_load((root / "recipes" / recipe / "recipe.yaml").read_text(encoding="utf-8"))
    served = tree["recipe"].get("languages", ["en"])
    return [
        Problem(
            "languages", f"the recipe {recipe} does not speak {language!r}", f"it has {', '.join(served)}"
        )
        for language in languages
        if language not in served
    ]
