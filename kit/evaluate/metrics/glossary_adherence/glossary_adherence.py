"""Share of answers that call the case's things by the names of its glossary."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from kit.evaluate.glossary import Glossary, Term, load_glossary, says
from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.text import normalise


class GlossaryAdherence(ItemMetric):
    """1 if every term that the row asks for has one of its names, and none that is to be avoided."""

    label = "Terms of the glossary"
    about = "form"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = "answers with the glossary's name of every term asked for / rows that ask for a term"
    glossary: Glossary

    def prepare(self, references: Sequence[Reference], **params: Any) -> None:
        """Read the glossary.

        Raises:
            TypeError: `glossary` is missing, or something else was given as well.
            ConfigError: the file has errors.
        """
        if set(params) != {"glossary"}:
            found = ", ".join(sorted(params)) or "nothing"
            raise TypeError(f"{self.name} takes one parameter, glossary=<path of a YAML file>; found {found}")
        path = Path(params["glossary"])
        self.glossary = _read(path, path.stat().st_mtime_ns if path.exists() else 0)

    def applies(self, reference: Reference) -> bool:
        """Whether the row's `source` or reference `answer` names a term that its `language` has."""
        return bool(self._asked(reference))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with the usual name of every term that is missing or called by a name to avoid."""
        text, language = normalise(prediction), _language(reference, "language")
        reasons = []
        for term in self._asked(reference):
            usual = term.say[language][0]
            if not says(text, term.say[language]):
                reasons.append(f"without {usual!r}")
            if says(text, term.avoid.get(language, [])):
                reasons.append(f"avoided name for {usual!r}")
        return float(not reasons), reasons

    def _asked(self, reference: Reference) -> list[Term]:
        language = _language(reference, "language")
        text, languages = reference.get("answer"), {language}
        if reference.get("source"):
            given = _language(reference, "source_language")
            text, languages = reference["source"], {given} if given else self.glossary.languages - {language}
        return [term for term in self.glossary.named(str(text or ""), languages) if language in term.say]


def _language(reference: Reference, key: str) -> str:
    return str(reference.get(key) or "")[:2].casefold()


@lru_cache(maxsize=16)
def _read(path: Path, modified: int) -> Glossary:
    """Read once as long as the file does not change."""
    return load_glossary(path)
