"""Benchmark files: texts that a model must not have learned, or its score on them says nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.config.errors import DataError, Problem
from kit.data.near import NearIndex, Pair, words
from kit.data.opening import File
from kit.data.records import open_file
from kit.data.rows import DOCUMENT, Row
from kit.data.same import turns_of
from kit.data.tools import said
from kit.files import sha256_file

_FEWEST_WORDS = 5
"""`yes`, `18` or `how are you` stand in many places and prove nothing."""


@dataclass(frozen=True)
class Benchmark:
    """The texts of one file, each with its place."""

    name: str
    sha256: str
    texts: list[tuple[str, str]]
    """`file:line` and text, for every text of the file that is long enough to prove something."""


def read_benchmarks(paths: Sequence[str], root: Path) -> list[Benchmark]:
    """Read benchmark files: every text of every record counts, whatever its column is called.

    Raises:
        DataError: a file is missing or unreadable, or a record of it is; all of them at once.
    """
    benchmarks, problems = [], missing_benchmarks(paths, root)
    for name in paths if not problems else ():
        try:
            texts = list(_texts_of(name, root))
        except DataError as error:
            problems += error.problems
            continue
        if not texts:
            problems.append(
                Problem(name, f"holds no text of {_FEWEST_WORDS} words or more", "is it a benchmark?")
            )
        benchmarks.append(Benchmark(name, sha256_file(root / name), texts))
    if problems:
        raise DataError(problems)
    return benchmarks


def missing_benchmarks(paths: Sequence[str], root: Path) -> list[Problem]:
    """The problems of all benchmarks whose file is not there."""
    return [
        Problem(path, f"no such file under {root.resolve()}", "mend the path in data.benchmarks")
        for path in paths
        if not (root / path).is_file()
    ]


def proves_something(text: str) -> bool:
    """Whether a text is long enough that to find it in a benchmark is no chance."""
    return len(words(text)) >= _FEWEST_WORDS


def _texts_of(name: str, root: Path) -> Iterator[tuple[str, str]]:
    for record in open_file(File(root / name, name)).records:
        where = f"{name}:{record.line}"
        if record.value is None:
            raise DataError(Problem(where, record.problem, "mend the line, or take it out of the benchmark"))
        yield from ((where, text) for text in _strings(record.value) if proves_something(text))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


class BenchmarkIndex:
    """The texts of all benchmarks, to find those of a row among."""

    def __init__(self, benchmarks: Sequence[Benchmark], near: float) -> None:
        self._index: NearIndex[tuple[str, str]] = NearIndex(near)
        for benchmark in benchmarks:
            for where, text in benchmark.texts:
                self._index.add([text], (where, text))

    def find(self, row: Row) -> tuple[str, Pair] | None:
        """Why a row must not be learned from, and the two texts; the first of its turns that says so."""
        for message in turns_of(row.said):
            for own in (said(message), message.get("reasoning_content", "")):
                hit = self._index.find([own]) if proves_something(own) else None
                if hit:
                    (where, text), alike = hit
                    what = {"user": "a question", DOCUMENT: "the text"}.get(message["role"], "an answer")
                    how = "stands" if alike == 1 else f"nearly stands ({alike:.2f})"
                    pair = Pair(where, (own, text), alike)
                    return f"{what} of it {how} in the benchmark {where}", pair
        return None
