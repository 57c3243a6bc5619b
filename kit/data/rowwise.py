"""Everything that is done with a row on its own, from the record to the entry: the part that runs in
several processes. What it needs and what it finds travels between them, so both are plain data.
"""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from kit.config.schema import Config
from kit.data.across import NEAR_CHECKS
from kit.data.benchmarks import Benchmark, BenchmarkIndex
from kit.data.boilerplate import sentence_hashes
from kit.data.check import Findings, check_pair, check_structure
from kit.data.clean import clean, find_cleaners
from kit.data.custom import find_checks, passes_custom
from kit.data.flags import read_flags
from kit.data.length import fit, measure
from kit.data.mask import check_personal, names_a_person
from kit.data.names import Names
from kit.data.neighbours import Mark, marks_of
from kit.data.quality import Quality
from kit.data.read import Reader
from kit.data.rows import Record, Rejection, Row, is_document
from kit.data.same import keys_of, turns_of
from kit.data.samples import keep_samples
from kit.data.split import assign, group_of
from kit.data.store import Entry
from kit.data.tools import said
from kit.hooks import Cleaner, Hooks, RowCheck

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Batch:
    """Some records of one source."""

    reader: Reader
    records: Sequence[Record]


@dataclass(frozen=True)
class Sound:
    """A row that is sound in itself."""

    entry: Entry
    pickled: bytes
    """The row."""
    asks: list[Mark]
    whole: Mark | None
    """None where no check looks for near rows."""
    sentences: list[int]
    names_a_person: bool
    """Whether its group is called by personal data that must not be told."""


@dataclass
class Done:
    """What came of a batch."""

    source: str
    records: int
    findings: Findings
    rows: list[Sound] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)
    """All that its rows have."""
    synthetic: bool = False


@dataclass
class RowWork:
    """What is done with every row. Called with a batch; the same in any process."""

    config: Config
    hooks: Hooks
    tokenizer: "PreTrainedTokenizerBase"
    benchmarks: list[Benchmark]
    names: Names | None = None

    def __call__(self, batch: Batch) -> Done:
        data = self.config.data
        findings = Findings(data.checks, data.personal, people=self.names)
        done = Done(batch.reader.name, len(batch.records), findings)
        for record in batch.records:
            row = self._sound(batch.reader.row(record, self.config, self.hooks), done)
            if isinstance(row, Rejection):
                done.findings.turn_away(row)
            elif row is not None:
                row.stages = batch.reader.read_for.learning(row)  # now, for a cleaner may change a label
                done.rows.append(self._finished(row))
        return done

    def _sound(self, item: Row | Rejection, done: Done) -> Row | Rejection | None:
        """The row cleaned, checked, assigned to a split and measured; None if a check turned it away."""
        data = self.config.data
        row = item if isinstance(item, Rejection) else clean(item, self._cleaners)
        if isinstance(row, Rejection):
            return row
        # Made from a grammar elsewhere and read back from a file, it is synthetic still.
        done.synthetic |= str(row.fields.get("synthetic")).lower() == "true"
        done.columns.update(row.fields)
        if rejection := check_structure(row):
            return rejection
        if not passes_custom(row, self._checks, done.findings):
            return None
        row.fields = {name: value for name, value in row.fields.items() if name in self._columns}
        rejection = (
            check_personal(row, data, done.findings, self.names)
            or check_pair(row)
            or read_flags(row, data)
            or assign(row, data.split)
            or self._measured(row, done.findings)
        )
        if rejection:
            return rejection
        stays = self._quality.keeps(row, done.findings) and self._learnable(row, done.findings)
        return row if stays else None

    def _measured(self, row: Row, findings: Findings) -> Rejection | None:
        """Set the row's lengths in tokens, and its prompt if it has to be shorter."""
        fitted = fit(row, self.tokenizer, self.config)
        if isinstance(fitted, Rejection):
            return fitted
        if fitted.check:
            findings.note(fitted.check, row.where, fitted.told)
        measure(row, fitted)
        keep_samples(row, fitted.samples)
        return None

    def _learnable(self, row: Row, findings: Findings) -> bool:
        """Whether no benchmark asks for what the row teaches."""
        if self._benchmarks is None or row.split == "test":  # nothing is learned from test
            return True
        hit = self._benchmarks.find(row)
        return hit is None or findings.found(row, "benchmark", *hit)

    def _finished(self, row: Row) -> Sound:
        data = self.config.data
        entry = Entry(
            number=0,
            source=row.source,
            line=row.line,
            part=row.part,
            split=row.split or "train",  # `assign` has set it
            group=row.group,
            named=group_of(row, data.split) is not None,
            document=is_document(row.messages),
            learned="pair" if row.rejected else "answer" if row.label is None else "label",
            stages=tuple(row.stages),
            tokens=row.tokens,
            all_tokens=row.all_tokens,
            trained_tokens=row.trained_tokens,
            samples=row.samples,
            tokens_before=row.tokens_before,
            missing=tuple(column for column in data.expected if row.fields.get(column) is None),
            keys=keys_of(row.messages, row.tools, row.rejected, row.label),
        )
        asks, whole = self._marks(row)
        sentences = sentence_hashes(row) if data.checks.boilerplate != "off" else []
        return Sound(entry, pickle.dumps(row), asks, whole, sentences, names_a_person(row, data, self.names))

    def _marks(self, row: Row) -> tuple[list[Mark], Mark | None]:
        """The marks of all prompts of a row, and of the whole."""
        if not self._looks_for_near:
            return [], None
        turns = turns_of(row.said)
        marks = marks_of([said(message) for message in turns])
        if is_document(row.messages):
            return marks, marks[0]
        dialogue = turns_of(row.messages)
        ends = [place for place, message in enumerate(dialogue) if message["role"] == "assistant"]
        return [marks[end - 1] for end in ends], marks[-1]

    @cached_property
    def _cleaners(self) -> list[tuple[str, Cleaner]]:
        return find_cleaners(self.config.data.cleaners, self.hooks)

    @cached_property
    def _checks(self) -> dict[str, RowCheck]:
        return find_checks(self.config.data.checks, self.hooks)

    @cached_property
    def _columns(self) -> dict[str, str]:
        return needed_columns(self.config)

    @cached_property
    def _quality(self) -> Quality:
        return Quality(self.config)

    @cached_property
    def _benchmarks(self) -> BenchmarkIndex | None:
        near = self.config.data.checks.near_similarity
        return BenchmarkIndex(self.benchmarks, near) if self.benchmarks else None

    @cached_property
    def _looks_for_near(self) -> bool:
        return any(getattr(self.config.data.checks, name) != "off" for name in NEAR_CHECKS)


def needed_columns(config: Config) -> dict[str, str]:
    """Columns that the settings name, and the key that names each."""
    data = config.data
    needed = dict.fromkeys(data.expected, "data.expected")
    needed |= dict.fromkeys(data.slices, "data.slices")
    if data.split.group_by:
        needed[data.split.group_by] = "data.split.group_by"
    if data.split.column and any(source.split == "auto" for source in data.sources):
        needed[data.split.column] = "data.split.column"
    return needed
