"""A glossary: how the case says its terms in each language, and what it never says; read from YAML.

terms:
  - say: {en: [cart], fr: [panier], es: [carrito, cesta]}
    avoid: {fr: [chariot]}
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from kit.config.errors import ConfigError, Problem
from kit.config.yaml_lines import Key, load_yaml
from kit.evaluate.text import normalise, phrase_pattern


class Term(BaseModel):
    """One thing and its names by language (ISO 639-1), the first the usual one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    say: dict[str, list[str]]
    avoid: dict[str, list[str]] = {}


class _GlossaryFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    terms: list[Term]


@dataclass(frozen=True)
class Glossary:
    """The terms, ready to be looked for."""

    terms: tuple[Term, ...]

    def named(self, text: str, languages: set[str]) -> list[Term]:
        """The terms that a text names, well or badly, in one of the languages."""
        plain = normalise(text)
        return [
            term
            for term in self.terms
            if any(says(plain, [*term.say.get(one, []), *term.avoid.get(one, [])]) for one in languages)
        ]

    @property
    def languages(self) -> set[str]:
        """Every language that some term has."""
        return {language for term in self.terms for language in term.say}


def says(text: str, names: list[str]) -> bool:
    """Whether a normalised text has one of the names, in any case and with any ending."""
    return any(phrase_pattern(name).search(text) for name in names)


def load_glossary(path: Path) -> Glossary:
    """Read and check a glossary.

    Raises:
        ConfigError: it is missing or no YAML, or has unknown, missing or misshapen keys; all at once,
            with file and line.
    """
    tree, lines = load_yaml(path)
    try:
        content = _GlossaryFile.model_validate(tree or {})
    except ValidationError as error:
        problems = []
        for fault in error.errors():
            key: Key = tuple(fault["loc"])
            line = next((lines[key[:size]] for size in range(len(key), -1, -1) if key[:size] in lines), 1)
            hint = "a term is `say: {language: [names]}` and, if need be, `avoid: {language: [names]}`"
            problems.append(Problem(f"{path}:{line}", f"{'.'.join(map(str, key))}: {fault['msg']}", hint))
        raise ConfigError(problems) from error
    return Glossary(tuple(content.terms))
