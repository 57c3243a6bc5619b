"""What a row's text says about its quality, row by row."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from kit.config.errors import DataError, Problem
from kit.config.schema import Config
from kit.data import marks
from kit.data.check import Findings
from kit.data.language import LanguageDetector, language_code, language_detector, scripts_of, writes
from kit.data.rows import Message, Row
from kit.data.same import turns_of
from kit.data.words import MOST_REPETITION, repetition, spelled_words

SHORTEST_TURN = 5
"""Turns of fewer words are judged by their script alone: detectors err on them."""
SHORTEST_OUTSIDE = 10
"""To be in none of the project's languages takes so many words: a list of drugs is no Latin."""
SHORTEST_PARAGRAPH = 20
"""A line of so many words is judged by itself, the other lines of a turn together,"""
LOOKED_AT = 200
"""each by its first characters: enough to tell, and the time does not grow with the turn."""


class Quality:
    """Language, encoding, markup, leftovers, repetition and refusals, row by row."""

    def __init__(self, config: Config) -> None:
        """Raises DataError if the language detector does not know a language of the project."""
        checks = config.data.checks
        named: dict[str, Callable[[Row, Findings], str | None]] = {
            "encoding": partial(_of_messages, lambda message: marks.damaged(message["content"])),
            "html": partial(_of_messages, lambda m: _unless_data(m, marks.markup(m["content"]))),
            "template_marks": partial(
                _of_messages, lambda m: _unless_data(m, marks.template_mark(m["content"], m["role"]))
            ),
            "repetition": partial(_of_answers, _repeating),
            "refusal": partial(_of_answers, marks.refusal),
        }
        if checks.language != "off":
            named = {"language": Languages(config), **named}
        self._finds = {name: find for name, find in named.items() if getattr(checks, name) != "off"}

    def keeps(self, row: Row, findings: Findings) -> bool:
        """Whether a row stays. It is counted once by every check that finds something in it; the first
        check that rejects it ends the search.
        """
        return all(
            not (reason := find(row, findings)) or findings.found(row, name, reason)
            for name, find in self._finds.items()
        )


class Languages:
    """Finds rows in a language that is not asked for, and counts what every turn is in."""

    def __init__(self, config: Config) -> None:
        """Raises DataError if the detector does not know a language of the project."""
        self.wanted = [language_code(language) for language in config.languages]
        try:
            self.detector: LanguageDetector = language_detector(frozenset(self.wanted))
        except ValueError as error:
            raise DataError(
                Problem(
                    "project.languages",
                    str(error),
                    "use ISO 639-1 codes such as `en`, or set data.checks.language to `off`",
                )
            ) from error

    def __call__(self, row: Row, findings: Findings) -> str | None:
        """The first fault of a row's turns; the system message and what tools gave are not judged.

        A column `language` names what the answers are to be in, else the question before them does.
        """
        own = language_code(str(row.fields.get("language") or ""))
        turns = [
            (number, message["role"] == "assistant", self._judge(message["content"], findings))
            for number, message in enumerate(turns_of(row.messages), start=1)
            if message["role"] != "tool" and message["content"]  # a call alone is in no language
        ]
        question: list[str] = []
        for number, answers, found in turns:
            turn = f"turn {number} (the {'answer' if answers else 'question'})"
            outside = next((language for language in found if language not in self.wanted), None)
            asked = question[0] if answers and question else None
            question = question if answers else found
            if outside:
                return f"{turn} is in {outside}, not one of {', '.join(self.wanted)}"
            if answers and own in self.wanted and found and found[0] != own:
                return f"{turn} is in {found[0]}, the row's language is {own}"
            if asked and own not in self.wanted and found and found[0] != asked:
                return f"{turn} is in {found[0]}, its question in {asked}"
            if len(found) > 1:
                return f"{turn} mixes {' and '.join(found)}"
        return None

    def _judge(self, content: str, findings: Findings) -> list[str]:
        """The languages of a turn, that of most words first; nothing if it is too short to tell."""
        found: Counter[str] = Counter()
        for beginning in _pieces(marks.without_code(content)):
            piece = marks.prose(beginning)
            size = spelled_words(piece)
            script = self._foreign_script(piece)
            if script or size >= SHORTEST_TURN:
                language = script or self.detector.sure_language(piece)
                if language and (script or language in self.wanted or size >= SHORTEST_OUTSIDE):
                    found[language] += size
        languages = [language for language, _ in found.most_common()]
        if languages:
            findings.languages[languages[0]] += 1
        else:
            findings.not_judged += 1
        return languages

    def _foreign_script(self, text: str) -> str | None:
        """The script of a text that none of the languages is written in.

        Latin is no such script: names, codes and abbreviations are written in it everywhere.
        """
        scripts = scripts_of(text)
        script = max(scripts, key=lambda name: scripts[name], default="LATIN")
        foreign = script != "LATIN" and not any(writes(language, script) for language in self.wanted)
        return f"{script.lower()} script" if foreign and scripts[script] > 1 else None


def _pieces(text: str) -> Iterator[str]:
    """The long lines of a text one by one, then all others together; the beginning of each."""
    others = []
    for line in text.splitlines():
        beginning = line[:LOOKED_AT]
        if beginning.isupper():  # the detector takes English capitals for Nigerian Pidgin
            beginning = beginning.lower()
        if len(line) >= SHORTEST_PARAGRAPH and spelled_words(beginning) >= SHORTEST_PARAGRAPH:
            yield beginning
        else:
            others.append(beginning)
    if rest := "\n".join(others)[:LOOKED_AT].strip():
        yield rest


def _of_messages(find: Callable[[Message], str | None], row: Row, _: Findings) -> str | None:
    for message in row.messages:
        if found := find(message):
            return f"the {message['role']}'s text {found}"
    return None


def _unless_data(message: Message, found: str | None) -> str | None:
    """What a function gave may well be HTML, or a template."""
    return None if message["role"] == "tool" else found


def _of_answers(find: Callable[[str], str | None], row: Row, _: Findings) -> str | None:
    for text in answers_of(row):
        if found := find(text):
            return f"an answer {found}"
    return None


def answers_of(row: Row) -> Iterator[str]:
    """The texts of the assistant's turns, reasoning and calls aside."""
    turns = (message for message in row.messages if message["role"] == "assistant")
    return (message["content"] for message in turns if message["content"])


def _repeating(text: str) -> str | None:
    share = repetition(text)
    return f"repeats itself: {share:.0%} of its 4-grams came before" if share > MOST_REPETITION else None
