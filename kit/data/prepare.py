"""Preparing data: read, clean, check, render, compare, split, write. Nothing is cut or lost silently."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.config.errors import DataError, Problem
from kit.config.schema import Config
from kit.data.across import check_across
from kit.data.balance import check_balance
from kit.data.benchmarks import Benchmark, missing_benchmarks, read_benchmarks
from kit.data.check import (
    Findings,
    check_expected,
    check_groups,
    check_lengths,
    check_structure,
)
from kit.data.clean import clean, find_cleaners
from kit.data.fingerprint import fingerprint, tokenizer_hash
from kit.data.length import fit, measure
from kit.data.mask import check_personal, hide_group
from kit.data.mix import mix
from kit.data.page import write_page
from kit.data.personal import find, redact
from kit.data.places import find_places
from kit.data.prepared import prepared_folder
from kit.data.progress import progress
from kit.data.quality import check_quality
from kit.data.read import read_source
from kit.data.rows import SPLITS, Rejection, Row, SourceInfo, SplitName, as_text
from kit.data.split import assign, group_of
from kit.data.summary import expected_of, summarise
from kit.files import new_folder, write_json, write_text
from kit.hooks import Cleaner, Hooks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WRITTEN_AT_ONCE = 10_000  # rows
_MOST_ROW_PROBLEMS = 50  # told beside the problems of whole files


@dataclass(frozen=True)
class Preparation:
    """What a project's sources come to."""

    rows: list[Row]
    findings: Findings
    sources: list[SourceInfo]
    benchmarks: list[Benchmark]

    def of(self, split: SplitName) -> list[Row]:
        return [row for row in self.rows if row.split == split]


@dataclass(frozen=True)
class CheckResult:
    """What `check` found."""

    summary: dict[str, Any]
    """What would be `data.json`."""
    rejected: list[Rejection]
    """By source, in the order of its lines."""
    refused: list[Problem]
    """Why `prepare` would refuse the data all the same: a split without rows. Empty if it would not."""


def prepare(config: Config, root: Path, hooks: Hooks, tokenizer: "PreTrainedTokenizerBase") -> Path:
    """Prepare the project's data, unless the same data was prepared before.

    Returns:
        `data/prepared/<fingerprint>/`, laid out as the architecture page says.

    Raises:
        DataError: a source cannot be read, a column that the settings name is nowhere (all such
            problems at once), or nothing usable is left to train or test on.
    """
    if not (find_places(config, root).problems or missing_benchmarks(config.data.benchmarks, root)):
        folder = prepared_folder(root, fingerprint(config, root, hooks, tokenizer))
        if folder.is_dir():
            return folder
    preparation = _work_through(config, root, hooks, tokenizer)
    if refused := _refusals(preparation, config):
        too_long = (
            _row_problems(preparation.findings, "too_long") if config.data.over_length == "error" else []
        )
        raise DataError([*refused, *too_long, *_first_of_every_check(preparation.findings)])
    folder = prepared_folder(root, fingerprint(config, root, hooks, tokenizer))
    with new_folder(folder) as temporary:
        _write(preparation, temporary, config, folder.name, tokenizer)
    return folder


def check(config: Config, root: Path, hooks: Hooks, tokenizer: "PreTrainedTokenizerBase") -> CheckResult:
    """Everything `prepare` does but writing and refusing.

    Raises:
        DataError: a source cannot be read, or a cleaner or column that the settings name is nowhere.
    """
    preparation = _work_through(config, root, hooks, tokenizer)
    identity = fingerprint(config, root, hooks, tokenizer)
    return CheckResult(
        summary=_summary(preparation, config, identity, tokenizer),
        rejected=_in_order(preparation.findings.rejected, preparation.sources),
        refused=_refusals(preparation, config),
    )


def _in_order(rejected: list[Rejection], sources: list[SourceInfo]) -> list[Rejection]:
    """By source and line; they were found check by check."""
    order = {source.name: number for number, source in enumerate(sources)}

    def place(rejection: Rejection) -> tuple[int, int]:
        name, _, line = rejection.where.rpartition(":")
        return order[name], int(line)

    return sorted(rejected, key=place)


def _work_through(
    config: Config, root: Path, hooks: Hooks, tokenizer: "PreTrainedTokenizerBase"
) -> Preparation:
    findings = Findings(config.data.checks, config.data.personal)
    rows, sources, benchmarks = _gather(config, root, hooks, findings)
    rows = _rendered(rows, config, tokenizer, findings)
    rows = check_quality(rows, config, findings)
    rows = check_across(rows, findings, benchmarks)
    rows = mix(rows, config.data.sources, sources)
    check_lengths(rows, config.data.checks.advised_tokens, findings)
    check_expected(rows, config.data.expected, findings)
    check_groups(rows, config.data.split, findings)
    check_balance(rows, config, findings)
    return Preparation(rows, findings, sources, benchmarks)


def _gather(
    config: Config, root: Path, hooks: Hooks, findings: Findings
) -> tuple[list[Row], list[SourceInfo], list[Benchmark]]:
    """All rows of all sources that are sound in themselves, with only the columns that are needed; and the
    benchmarks, whose problems are told with those of the sources."""
    if not config.data.sources:
        raise DataError(
            Problem("data.sources", "is empty: there is no data to read", "name at least one source")
        )
    rows: list[Row] = []
    sources: list[SourceInfo] = []
    columns: set[str] = set()
    groups: dict[str, str] = {}
    problems: list[Problem] = []
    cleaners: list[tuple[str, Cleaner]] = []
    benchmarks: list[Benchmark] = []
    try:
        benchmarks = read_benchmarks(config.data.benchmarks, root)
    except DataError as error:
        problems += error.problems
    try:
        cleaners = find_cleaners(config.data.cleaners, hooks)
    except DataError as error:
        problems += error.problems
    places = find_places(config, root)
    problems += places.problems
    for name in places.skipped:
        findings.note("skipped", name, "a file of this type is not read")
    for part, source in places.sources:
        try:
            info, items = read_source(source, config, root, hooks)
            total = source.dialogues if source.grammar else None
            for item in progress(items, f"reading {info.name}", total):
                row = _sound_row(item, config, cleaners, columns, findings)
                if isinstance(row, Row):
                    hide_group(row, config.data, groups)
                    row.part = part
                    rows.append(row)
                else:
                    findings.turn_away(row)
        except DataError as error:
            problems += error.problems
            continue
        sources.append(info)
        if source.hub and not source.revision:
            findings.note("revision", info.name, "set `revision` to a commit of the dataset")
    # A file that was not read may have the column.
    if columns and not places.problems and len(sources) == len(places.sources):
        problems += _missing_columns(config, columns)
    if problems:
        raise DataError([*problems, *_row_problems(findings)])
    return rows, sources, benchmarks


def _row_problems(findings: Findings, check: str = "") -> list[Problem]:
    """The rows turned away so far, by one check or any, so that one pass tells all: a file that cannot be
    read hides none.
    """
    rejected = [rejection for rejection in findings.rejected if check in ("", rejection.check)]
    shown = [Problem(rejection.where, rejection.reason) for rejection in rejected[:_MOST_ROW_PROBLEMS]]
    left = len(rejected) - len(shown)
    return [*shown, Problem("", f"… and {left} more rows are turned away")] if left else shown


def _sound_row(
    item: Row | Rejection,
    config: Config,
    cleaners: list[tuple[str, Cleaner]],
    columns: set[str],
    findings: Findings,
) -> Row | Rejection:
    """The row cleaned, checked and assigned to a split, its columns noted, the unneeded ones dropped."""
    row = item if isinstance(item, Rejection) else clean(item, cleaners)
    if isinstance(row, Rejection):
        return row
    columns.update(row.fields)
    needed = needed_columns(config)
    row.fields = {name: value for name, value in row.fields.items() if name in needed}
    rejection = (
        check_structure(row) or check_personal(row, config.data, findings) or assign(row, config.data.split)
    )
    return rejection or row


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


def _missing_columns(config: Config, columns: set[str]) -> list[Problem]:
    return [
        Problem(
            where=key,
            message=f"no row has the column {column!r}; the columns are {', '.join(sorted(columns))}",
            hint=f"rename it with `columns` of its source ({column}: their_name), or take it out of {key}",
        )
        for column, key in needed_columns(config).items()
        if column not in columns
    ]


def _rendered(
    rows: list[Row], config: Config, tokenizer: "PreTrainedTokenizerBase", findings: Findings
) -> list[Row]:
    """The rows that can be trained on, with their lengths in tokens."""
    kept = []
    for row in progress(rows, "counting tokens", total=len(rows)):
        fitted = fit(row, tokenizer, config)
        if isinstance(fitted, Rejection):
            findings.turn_away(fitted)
            continue
        if fitted.check:
            findings.note(fitted.check, row.where, fitted.told)
        measure(row, fitted)
        kept.append(row)
    return kept


def _refusals(preparation: Preparation, config: Config) -> list[Problem]:
    """Why `prepare` refuses the data."""
    return [*_over_length(preparation.findings, config), *_empty_splits(preparation, config)]


def _over_length(findings: Findings, config: Config) -> list[Problem]:
    count = findings.checks["too_long"].count
    if config.data.over_length != "error" or not count:
        return []
    message = f"is error, and {count} dialogues are over model.max_length ({config.model.max_length} tokens)"
    hint = "shorten them, raise model.max_length, or choose drop, split or truncate-prompt"
    return [Problem("data.over_length", message, hint)]


def _empty_splits(preparation: Preparation, config: Config) -> list[Problem]:
    """Without training rows there is nothing to do, without valid no golden checkpoint, without test
    no evidence."""
    data = config.data
    wanted = [split for split in SPLITS if split != "valid" or data.split.valid > 0]
    empty = [split for split in wanted if not preparation.of(split)]
    if not empty:
        return []
    read = sum(source.rows for source in preparation.sources)
    message = (
        f"nothing usable is left in {' and '.join(empty)}: {read} rows read, {len(preparation.rows)} kept"
    )
    hint = "bring more rows, or change data.split (column, group_by, valid, test)"
    named = Counter(group for row in preparation.rows if (group := group_of(row, data.split)))
    if not named:
        return [Problem("data", message, hint)]
    (largest, count), *_ = named.most_common(1)
    return [
        Problem("data", message, hint),
        Problem(
            where="data.split.group_by",
            message=f"is {data.split.group_by!r}, and a group is never divided: there are {len(named)}, "
            f"the largest, {redact(largest)!r}, with {count} of {len(preparation.rows)} rows",
            hint="name a column with more values, such as customer or ticket; or null: then only rows that "
            "ask the same stay together",
        ),
    ]


def _first_of_every_check(findings: Findings) -> list[Problem]:
    return [
        Problem(
            where=example["where"], message=example["text"], hint=f"check {check.name}: {check.count} in all"
        )
        for check in findings.checks.values()
        if check.count and check.severity == "reject"
        for example in check.examples[:1]
    ]


def _write(
    preparation: Preparation,
    folder: Path,
    config: Config,
    identity: str,
    tokenizer: "PreTrainedTokenizerBase",
) -> None:
    for split in SPLITS:
        _write_split(preparation.of(split), folder / split, config)
    rejected = (_rejection_line(rejection) for rejection in preparation.findings.rejected)
    write_text(folder / "rejected.jsonl", "".join(rejected))
    summary = _summary(preparation, config, identity, tokenizer)
    write_json(folder / "data.json", summary)
    shown = (row for row in preparation.of("train") if not any(find(m["content"]) for m in row.messages))
    write_page(folder / "data.html", summary, list(islice(shown, 3)), tokenizer, config)


def _summary(
    done: Preparation, config: Config, identity: str, tokenizer: "PreTrainedTokenizerBase"
) -> dict[str, Any]:
    summary = summarise(done.rows, done.findings, done.sources, done.benchmarks, config, identity)
    return summary | {"tokenizer": tokenizer_hash(tokenizer)}


def _rejection_line(rejection: Rejection) -> str:
    return json.dumps(vars(rejection), ensure_ascii=False, allow_nan=False) + "\n"


def _write_split(rows: Sequence[Row], folder: Path, config: Config) -> None:
    from datasets import Dataset, Features, List, Value, disable_progress_bars
    from pyarrow import RecordBatch, Table  # type: ignore[import-untyped]

    text = Value("string")
    features = Features(
        {
            "id": text,
            "messages": List({"role": text, "content": text}),
            "expected": text,
            "slices": text,
            "group": text,
            "source": text,
            "line": Value("int64"),
        }
    )
    schema = features.arrow_schema  # keeps its columns when empty
    batches = (
        RecordBatch.from_pylist([_prepared(row, config) for row in part], schema=schema)
        for part in _batches(rows)
    )
    disable_progress_bars()
    # A fingerprint of its own would be taken from a pickled copy of the whole table.
    table = Dataset(Table.from_batches(batches, schema=schema), fingerprint=folder.name)
    # An empty split without a shard could not be loaded again.
    table.save_to_disk(str(folder), num_shards=1)


def _batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """So that few rows are there twice, as they are and as they are written."""
    for start in range(0, len(rows), _WRITTEN_AT_ONCE):
        yield rows[start : start + _WRITTEN_AT_ONCE]


def _prepared(row: Row, config: Config) -> dict[str, Any]:
    slices = {column: as_text(row.fields.get(column)) for column in config.data.slices}
    return {
        "id": row.id,
        "messages": row.messages,
        "expected": json.dumps(expected_of(row, config), ensure_ascii=False, allow_nan=False),
        "slices": json.dumps(slices, ensure_ascii=False),
        "group": row.group,
        "source": row.source,
        "line": row.line,
    }
