"""Names of people: found by a spaCy pipeline through presidio, and told apart by their words.

A name has no form of its own, so it takes a model for every language: a package or folder that
`data.name_models` names. Nothing is downloaded. What belongs to whom is a matter of words: in a dialogue
with one whole `Jane Smith`, `Jane` and `Ms Smith` are her as well.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kit.config.errors import DataError, Problem
from kit.config.schema import Config
from kit.data.language import language_code, language_detector
from kit.data.personal import Found, People
from kit.data.rows import Row
from kit.data.scan import Span
from kit.files import sha256_file

LIBRARIES = ("presidio-analyzer", "spacy")
"""What `casekit[names]` installs; their versions change what is found."""
LABELS = ("PERSON", "PER", "PRS", "PS", "persName")
"""What pipelines call people: OntoNotes and WikiNER, then the Swedish, Korean and Polish corpora."""

# They say something about words, not about people; without them a text takes half the time or less.
_OTHER_PIPES = ["attribute_ruler", "lemmatizer", "morphologizer", "parser", "senter", "tagger"]
_PIECE = 50_000  # characters: spaCy refuses a million, and its memory grows with the text
_TOLD_BY = 1000  # characters: enough to tell a language by
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_NO_NAME = re.compile(r"[\d\[\]{}<>@_#*/\\]")  # marks such as [EMAIL_1], addresses, what is shortened already
_TITLES = frozenset((
    "doctor", "dr", "frau", "herr", "m", "madam", "madame", "mademoiselle", "miss", "mister", "mlle", "mme",
    "monsieur", "mr", "mrs", "ms", "mx", "prof", "professor", "senor", "senora", "senorita", "sir", "sr",
    "sra", "srta",
))  # fmt: skip
_OWNING = ("'s", "’s")
_SHORTEST_PART = 3  # letters
_ABBREVIATED = ("Mr", "Mrs", "Ms", "Dr", "Prof", "M", "Sr", "Sra", "Srta")
_INSIDE = "|".join((r"(?<=[\w,;:] )", *(rf"(?<=\b{title}\. )" for title in _ABBREVIATED)))  # a sentence


@dataclass(frozen=True)
class Names:
    """Finds names of people. Plain data: a process loads the pipelines when it first needs them, and a
    forked one has those that its parent loaded.
    """

    models: tuple[tuple[str, str], ...]
    """Language (ISO 639-1) -> the pipeline's package, or its folder."""

    def __call__(self, text: str) -> list[Span]:
        """Names in a text of any of the languages, as reports shorten them: better one too many."""
        models = dict.fromkeys(model for _, model in self.models)
        spans = [span for model in models for span in _people(model, text)]
        return sorted(spans, key=lambda span: (span[0], -span[1]))

    def of(self, row: Row) -> People:
        """What finds names in a row's texts: the pipeline of its column `language`, where that names one of
        the project's languages, else of the language that the whole dialogue is told by.
        """
        models = dict(self.models)
        own = language_code(str(row.fields.get("language") or ""))
        if own not in models:
            own = next(iter(models))
            if len(models) > 1:
                text = " ".join(message["content"] for message in row.messages)[:_TOLD_BY]
                told = language_detector(frozenset(models)).language(text)
                own = told if told in models else own
        return partial(_people, models[own])


def find_names(config: Config, root: Path) -> Names | None:
    """What finds names, its pipelines loaded; None if no names are looked for.

    Raises:
        DataError: a library or pipeline is missing, or one finds no people; all such problems at once.
    """
    if problems := name_problems(config, root):
        raise DataError(problems)
    if "name" not in config.data.personal_kinds:
        return None
    models = _models(config, root)
    for language, model in models:
        try:
            labels = _labels(_pipeline(model))
            if set(labels) & set(LABELS):
                _engine(model)  # so that forked processes have it
                continue
            message = f"its labels are {', '.join(labels) or 'none'}, expected one of {', '.join(LABELS)}"
        except Exception as error:  # whatever a folder's configuration and code may raise
            message = f"cannot be loaded: {type(error).__name__}: {error}"
        problems.append(
            Problem(
                f"data.name_models.{language}",
                f"the pipeline {model!r} finds no names: {message}",
                "name a spaCy pipeline with named entities, made for the installed version of spaCy",
            )
        )
    try:
        _ = language_detector(frozenset(dict(models))) if len(models) > 1 else None
    except ValueError as error:
        hint = "use ISO 639-1 codes such as `en`: names are looked for in the language that a dialogue is in"
        problems.append(Problem("project.languages", str(error), hint))
    if problems:
        raise DataError(problems)
    return Names(models)


def name_problems(config: Config, root: Path) -> list[Problem]:
    """What is missing, as far as it can be told without loading anything."""
    data = config.data
    key = "data.name_models"
    if "name" not in data.personal_kinds:
        message = "is set, but no names are looked for"
        hint = "add `name` to data.personal_kinds, or take data.name_models out"
        return [Problem(key, message, hint)] if data.name_models else []
    problems = []
    missing = [name for name in LIBRARIES if find_spec(name.replace("-", "_")) is None]
    if missing:
        problems.append(
            Problem(
                "data.personal_kinds",
                f"`name` needs {' and '.join(LIBRARIES)}; not installed: {', '.join(missing)}",
                "`pip install 'casekit[names]'`, or take `name` off the list",
            )
        )
    wanted = [language_code(language) for language in config.languages]
    given = {language_code(language) for language in data.name_models}
    for language in sorted(set(wanted) - given):
        hint = f"`{language}: …`: the package or folder of a spaCy pipeline, as from https://spacy.io/models"
        problems.append(Problem(key, f"has nothing for {language!r}, a language of the project", hint))
    for language in sorted(given - set(wanted)):
        message = f"is for no language of the project: {', '.join(wanted)}"
        problems.append(Problem(f"{key}.{language}", message, "take it out, or see project.languages"))
    for language, model in data.name_models.items():
        if not _folder(model, root) and not _package(model):
            message = f"{model!r} is neither an installed package nor a folder with a pipeline's config.cfg"
            hint = (
                f"`python -m spacy download {model}`, or name a folder, relative to the project"
                if re.fullmatch(r"\w+", model)
                else f"expected {(root / model / 'config.cfg').as_posix()}"
            )
            problems.append(Problem(f"{key}.{language}", message, hint))
    return problems


def identity(config: Config, root: Path) -> list[list[str]]:
    """What the names that are found depend on beside the settings: versions, and the bytes of folders.
    There must be no `name_problems`.
    """
    if "name" not in config.data.personal_kinds:
        return []
    parts = [[name, distribution(name).version] for name in LIBRARIES]
    for language, model in config.data.name_models.items():
        if folder := _folder(model, root):
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            parts.append([language, *map(sha256_file, files)])
        else:
            parts.append([language, distribution(model).version])
    return parts


def name_key(text: str) -> str:
    """The words of a name in one order, without titles, case and accents: the same for `Smith, Jane`."""
    return " ".join(sorted(folded for folded in map(_folded, _WORD.findall(text)) if folded not in _TITLES))


def whole_names(keys: Iterable[str]) -> dict[str, str]:
    """For every name of a dialogue the whole one that it is a part of, or itself.

    It is a part if exactly one name that is part of no other has all its words: beside Jane Smith and
    Jane Doe, `Jane` is neither.
    """
    words = {key: frozenset(key.split()) for key in keys}
    having: dict[str, list[str]] = defaultdict(list)
    for key, own in words.items():
        for word in own:
            having[word].append(key)
    larger: dict[str, list[str]] = {}
    for key, own in words.items():
        near = min((having[word] for word in own), key=len, default=[])
        larger[key] = [other for other in near if own < words[other]]
    wholes = {key: [other for other in larger[key] if not larger[other]] for key in words}
    return {key: found[0] if len(found) == 1 else key for key, found in wholes.items()}


def mentions(found: Iterable[Found]) -> Iterator[tuple[str, str, str]]:
    """How the names of a dialogue stand where the model does not see them: text, pattern and key.

    A whole name is meant wherever it stands; one word of it, such as `Jane` or `Will`, with its capital
    inside a sentence, after a title, or where it stands alone. A word that two people share is left to the
    model.
    """
    keys: dict[str, set[str]] = defaultdict(set)
    spelled: dict[str, str] = {}
    for one in found:
        words = _WORD.findall(one.text)
        if len(words) > 1:
            yield one.text, rf"(?<!\w){re.escape(one.text)}(?![\w-])", one.key
        for word in words:
            keys[_folded(word)].add(one.key)
            if len(word) >= _SHORTEST_PART and word[0].isupper():
                spelled[word] = one.key
    for word, key in spelled.items():
        if len(keys[_folded(word)]) == 1:
            yield word, rf"(?:{_INSIDE}){re.escape(word)}(?![\w-])|\A{re.escape(word)}\Z", key


def _models(config: Config, root: Path) -> tuple[tuple[str, str], ...]:
    """In the order of the project's languages."""
    given = {language_code(language): model for language, model in config.data.name_models.items()}
    wanted = dict.fromkeys(map(language_code, config.languages))
    return tuple((language, str(_folder(given[language], root) or given[language])) for language in wanted)


def _folder(model: str, root: Path) -> Path | None:
    folder = (root / model).resolve()
    return folder if (folder / "config.cfg").is_file() else None


def _package(name: str) -> bool:
    try:
        distribution(name)
    except (PackageNotFoundError, ValueError):  # the latter of an empty name
        return False
    return True


@cache
def _pipeline(model: str) -> Any:
    """A spaCy pipeline with what its names need, and nothing else."""
    import spacy

    pipeline = spacy.load(model, exclude=_OTHER_PIPES)
    for name, pipe in list(pipeline.pipeline):
        if getattr(pipe, "listener_map", None) == {}:  # vectors for the pipes that were left out
            pipeline.remove_pipe(name)
    return pipeline


def _labels(pipeline: Any) -> list[str]:
    return sorted({label for labels in pipeline.pipe_labels.values() for label in labels})


@cache
def _engine(model: str) -> Any:
    """presidio with one recogniser, for people, over a pipeline that is loaded already: left to itself it
    would download one that is missing, and use a GPU."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    pipeline = _pipeline(model)
    language = pipeline.lang
    labels = NerModelConfiguration(
        model_to_presidio_entity_mapping=dict.fromkeys(LABELS, "PERSON"),
        labels_to_ignore=[label for label in _labels(pipeline) if label not in LABELS],
    )
    nlp = SpacyNlpEngine([{"lang_code": language, "model_name": model}], labels)
    nlp.nlp = {language: pipeline}
    people = SpacyRecognizer(supported_language=language, supported_entities=["PERSON"])
    registry = RecognizerRegistry([people], supported_languages=[language])
    return AnalyzerEngine(registry, nlp, supported_languages=[language])


@lru_cache(maxsize=1024)
def _people(model: str, text: str) -> tuple[Span, ...]:
    """The names in a text. Kept for a while: masking asks twice, and system messages come again."""
    spans: list[Span] = []
    for start, piece in _pieces(text) if _WORD.search(text) else ():
        engine = _engine(model)
        for found in engine.analyze(piece, engine.supported_languages[0], entities=["PERSON"]):
            if span := trimmed(text, start + found.start, start + found.end):
                spans.append(span)
    return tuple(sorted(spans))


def trimmed(text: str, start: int, end: int) -> Span | None:
    """A name without what a model takes along: titles, 's, the next line. None if it is none."""
    line = re.match(r"\s*[^\n]*", text[start:end])
    found = line[0] if line else ""
    if _NO_NAME.search(found):
        return None
    words = list(_WORD.finditer(found))
    while words and _folded(words[0][0]) in _TITLES:
        words.pop(0)
    if not words:
        return None
    last = words[-1]
    close = last.end() - (2 if last[0].lower().endswith(_OWNING) else 0)
    name = found[words[0].start() : close]
    key = name_key(name)
    return (start + words[0].start(), start + close, key) if key else None


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """A text in pieces that end with a line or a word, and where each begins."""
    at = 0
    while at < len(text):
        end = at + _PIECE
        if end < len(text):
            breaks = (text.rfind(mark, at, end) + 1 for mark in "\n ")
            end = next((place for place in breaks if place > at), end)
        yield at, text[at:end]
        at = end


def _folded(word: str) -> str:
    letters = unicodedata.normalize("NFKD", word.casefold().removesuffix("'s").removesuffix("’s"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
