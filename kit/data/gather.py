"""Reading all sources: every row that is sound in itself goes to the store, in the order of the sources."""

import pickle
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kit.config.errors import DataError, Problem
from kit.config.schema import Config
from kit.data.benchmarks import Benchmark, read_benchmarks
from kit.data.boilerplate import Sentences
from kit.data.check import Findings
from kit.data.clean import find_cleaners
from kit.data.custom import find_checks
from kit.data.mask import hide_group
from kit.data.names import Names, find_names
from kit.data.neighbours import Marks
from kit.data.places import Places, find_places, name_of
from kit.data.pool import ordered_map
from kit.data.progress import counting
from kit.data.quality import Languages
from kit.data.read import open_source
from kit.data.rows import Record, Row, SourceInfo
from kit.data.rowwise import Batch, Done, RowWork, needed_columns
from kit.data.store import Entry, Rejections, Store
from kit.data.tools import texts_of
from kit.hooks import Hooks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH = 500  # records,
_LETTERS = 2_000_000  # or so much text, for some batches a process wait in memory, and books are long
_MOST_ROW_PROBLEMS = 50  # told beside the problems of whole files


@dataclass
class Gathered:
    """All rows that are sound in themselves, and what was found in the others."""

    findings: Findings
    store: Store = field(default_factory=Store)
    entries: list[Entry] = field(default_factory=list)
    asks: Marks = field(default_factory=Marks)
    wholes: Marks = field(default_factory=Marks)
    sentences: Sentences = field(default_factory=Sentences)
    sources: list[SourceInfo] = field(default_factory=list)
    benchmarks: list[Benchmark] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)
    synthetic: set[str] = field(default_factory=set)
    """Names of sources with rows that say they are synthetic."""
    groups: dict[str, str] = field(default_factory=dict)
    """Names of groups that tell personal data -> what stands in their place."""

    def add(self, done: Done, config: Config) -> None:
        """What came of a batch, after all that came before it."""
        self.findings.merge(done.findings)
        self.columns |= done.columns
        self.synthetic |= {done.source} if done.synthetic else set()
        for sound in done.rows:
            entry, pickled = sound.entry, sound.pickled
            entry.number, entry.asks = len(self.entries), len(self.asks)
            if sound.names_a_person:
                row: Row = pickle.loads(pickled)  # noqa: S301 (of our own processes)
                hide_group(row, config.data, self.groups)
                entry.group, pickled = row.group, pickle.dumps(row)
            self.store.put(entry, pickled)
            self.entries.append(entry)
            self.sentences.add(sound.sentences)
            self.asks.extend(sound.asks)
            self.wholes.extend([sound.whole] if sound.whole else [])


def gather(config: Config, root: Path, hooks: Hooks, tokenizer: "PreTrainedTokenizerBase") -> Gathered:
    """Read all sources, in several processes where there are many rows.

    Raises:
        DataError: a source cannot be read, or something that the settings name is nowhere; all such
            problems at once, and with them the first rows that were turned away. Or a process was killed.
    """
    if not config.data.sources:
        raise DataError(
            Problem("data.sources", "is empty: there is no data to read", "name at least one source")
        )
    places = find_places(config, root)
    problems: list[Problem] = []
    usable = _usable(config, hooks, problems)
    names = _names(config, root, problems)
    problems += places.problems
    rejected = Rejections([name_of(source) for _, source in places.sources])
    # What is not only reported is masked or gone in the rows that are compared with each other.
    people = names if config.data.personal == "report" else None
    gathered = Gathered(Findings(config.data.checks, config.data.personal, rejected, people))
    try:
        gathered.benchmarks = read_benchmarks(config.data.benchmarks, root)
    except DataError as error:
        problems += error.problems
    for name, check in find_checks(usable.data.checks, hooks).items():
        said = (check.__doc__ or "").strip().partition("\n")[0]
        gathered.findings.checks[name].what = said or gathered.findings.checks[name].what
    for name in places.skipped:
        gathered.findings.note("skipped", name, "a file of this type is not read")
    # Metrics are not asked here, and one that cannot be sent to other processes must not matter.
    work = RowWork(usable, replace(hooks, metrics={}), tokenizer, gathered.benchmarks, names)
    batches = _batches(work, places, root, gathered.sources, problems)
    try:
        with counting("reading rows") as advance:
            for done in ordered_map(work, batches, config.data.num_proc):
                gathered.add(done, config)
                advance(done.records)
    except BrokenProcessPool as error:
        message = f"a process ended without a word after {len(gathered.entries)} rows: killed for its memory?"
        hint = "set data.num_proc=1 to see what a row does to it, or to need less memory"
        raise DataError(Problem("data.num_proc", message, hint)) from error
    for info in gathered.sources:
        info.synthetic |= info.name in gathered.synthetic
    for _, source in places.sources:
        if source.hub and not source.revision:
            gathered.findings.note("revision", name_of(source), "set `revision` to a commit of the dataset")
    # A file that was not read may have the column.
    if gathered.columns and not places.problems and len(gathered.sources) == len(places.sources):
        problems += _missing_columns(config, gathered.columns)
    if problems:
        raise DataError([*problems, *_row_problems(gathered.findings)])
    return gathered


def _usable(config: Config, hooks: Hooks, problems: list[Problem]) -> Config:
    """The settings without what is wrong with them, so that the rows' own problems are told as well."""
    data = config.data
    try:
        find_cleaners(data.cleaners, hooks)
    except DataError as error:
        problems += error.problems
        data = data.model_copy(update={"cleaners": []})
    try:
        find_checks(data.checks, hooks)
    except DataError as error:
        problems += error.problems
        data = data.model_copy(update={"checks": data.checks.model_copy(update={"custom": {}})})
    try:
        _ = Languages(config) if data.checks.language != "off" else None
    except DataError as error:
        problems += error.problems
        data = data.model_copy(update={"checks": data.checks.model_copy(update={"language": "off"})})
    return config.model_copy(update={"data": data})


def _names(config: Config, root: Path, problems: list[Problem]) -> Names | None:
    """What finds names of people, if there is nothing wrong with it."""
    try:
        return find_names(config, root)
    except DataError as error:
        problems += error.problems
        return None


def _batches(
    work: RowWork, places: Places, root: Path, infos: list[SourceInfo], problems: list[Problem]
) -> Iterator[Batch]:
    """The records of all sources, each source opened when it is its turn; one that cannot be read to its
    end becomes a problem, and its info is left out.
    """
    for part, source in places.sources:
        batch: list[Record] = []
        try:
            info, reader, records = open_source(source, part, work.config, root, work.hooks)
            letters = 0
            for record in records:
                batch.append(record)
                letters += sum(len(str(text)) for text in texts_of(record.value))
                if len(batch) == _BATCH or letters >= _LETTERS:
                    yield Batch(reader, batch)
                    batch, letters = [], 0
            infos.append(info)
        except DataError as error:
            problems += error.problems
        if batch:
            yield Batch(reader, batch)


def _missing_columns(config: Config, columns: set[str]) -> list[Problem]:
    """One problem a setting, however many of its columns are nowhere."""
    missing: dict[str, list[str]] = {}
    for column, key in needed_columns(config).items():
        if column not in columns:
            missing.setdefault(key, []).append(column)
    return [
        Problem(
            where=key,
            message=(
                f"no row has the column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}; "
                f"the columns are {', '.join(sorted(columns))}"
            ),
            hint=(
                f"rename with `columns` of the source ({names[0]}: their_name), or "
                + (f"set {key}: null" if key.startswith("data.split.") else f"leave out of {key}")
            ),
        )
        for key, names in missing.items()
    ]


def _row_problems(findings: Findings) -> list[Problem]:
    """The rows turned away so far, so that one pass tells all: a file that cannot be read hides none."""
    shown = [Problem(each.where, each.reason) for each in islice(findings.rejected, _MOST_ROW_PROBLEMS)]
    left = len(findings.rejected) - len(shown)
    return [*shown, Problem("", f"… and {left} more rows are turned away")] if left else shown
