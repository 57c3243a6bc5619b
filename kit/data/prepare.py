"""Preparing data: read, clean, check, render, compare, split, write. Nothing is cut or lost silently."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.config.errors import DataError, Problem
from kit.config.schema import Config
from kit.data.across import Rows, check_across
from kit.data.balance import Balance, check_balance, count_values
from kit.data.benchmarks import Benchmark, missing_benchmarks
from kit.data.boilerplate import check_boilerplate
from kit.data.check import (
    Findings,
    check_expected,
    check_groups,
    check_lengths,
)
from kit.data.fingerprint import fingerprint, tokenizer_hash
from kit.data.gather import gather
from kit.data.mix import mix
from kit.data.names import name_problems
from kit.data.page import write_page
from kit.data.places import find_places
from kit.data.prepared import prepared_folder
from kit.data.rows import SPLITS, Rejection, Row, SourceInfo, SplitName
from kit.data.samples import libraries
from kit.data.spread import spread
from kit.data.stages import stages_without_rows
from kit.data.store import Entry, Store
from kit.data.summary import summarise
from kit.data.write import write_split
from kit.files import new_folder, write_json, write_lines
from kit.hooks import Hooks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MOST_ROW_PROBLEMS = 50  # told beside the problem of them all


@dataclass(frozen=True)
class Preparation:
    """What a project's sources come to."""

    entries: list[Entry]
    store: Store
    findings: Findings
    balance: Balance
    sources: list[SourceInfo]
    benchmarks: list[Benchmark]

    def of(self, split: SplitName) -> list[Entry]:
        return [entry for entry in self.entries if entry.split == split]

    def may_be_shown(self, row: Row, system_prompt: str | None) -> bool:
        """Whether a row has no personal data, the project's own system prompt aside."""
        own = {"role": "system", "content": system_prompt}
        shown = [*(message for message in row.said if message != own), *row.tools]
        return bool(self.findings.redact_row(shown) == shown)


@dataclass(frozen=True)
class CheckResult:
    """What `check` found."""

    summary: dict[str, Any]
    """What would be `data.json`."""
    rejected: Sequence[Rejection]
    """By source, in the order of its lines."""
    refused: list[Problem]
    """Why `prepare` would refuse the data all the same: a split without rows, or dialogues that are too long
    where that is an error. Empty if it would not."""


def prepare(config: Config, root: Path, hooks: Hooks, tokenizer: "PreTrainedTokenizerBase") -> Path:
    """Prepare the project's data, unless the same data was prepared before.

    Returns:
        `data/prepared/<fingerprint>/`, laid out as the architecture page says.

    Raises:
        DataError: a source cannot be read, a column that the settings name is nowhere (all such
            problems at once), or nothing usable is left to train or test on.
    """
    missing = [*missing_benchmarks(config.data.benchmarks, root), *name_problems(config, root)]
    if not (find_places(config, root).problems or missing):
        folder = prepared_folder(root, fingerprint(config, root, hooks, tokenizer))
        if folder.is_dir():
            return folder
    preparation = _work_through(config, root, hooks, tokenizer)
    if refused := _refusals(preparation, config):
        findings = preparation.findings
        raise DataError([*refused, *_too_long(findings, config), *_first_of_every_check(findings)])
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
        rejected=preparation.findings.rejected,
        refused=_refusals(preparation, config),
    )


def _work_through(
    config: Config, root: Path, hooks: Hooks, tokenizer: "PreTrainedTokenizerBase"
) -> Preparation:
    gathered = gather(config, root, hooks, tokenizer)
    findings, store, entries = gathered.findings, gathered.store, gathered.entries
    if findings.on("boilerplate"):
        entries = check_boilerplate(entries, store, gathered.sentences, findings)
    entries = check_across(entries, Rows(store, gathered.asks, gathered.wholes), findings)
    entries = mix(entries, store, config.data.sources, gathered.sources)
    made = {source.name for source in gathered.sources if source.synthetic}  # as long as their grammar has it
    found = (entry for entry in entries if entry.source not in made)
    check_lengths(found, config.data.checks.advised_tokens, findings)
    check_expected(entries, findings)
    check_groups(entries, config.data.split, store, findings)
    balance = count_values(store.rows(entries), config)
    check_balance(balance, findings)
    return Preparation(entries, store, findings, balance, gathered.sources, gathered.benchmarks)


def _refusals(preparation: Preparation, config: Config) -> list[Problem]:
    """Why `prepare` refuses the data: dialogues that are too long, where they are an error, and splits
    without rows.
    """
    count = preparation.findings.checks["too_long"].count
    empty = _empty_splits(preparation, config) or stages_without_rows(preparation.entries, config)
    if config.data.over_length != "error" or not count:
        return empty
    message = f"is error, and {count} dialogues are over model.max_length ({config.model.max_length} tokens)"
    hint = "shorten them, raise model.max_length, or choose drop, split or truncate-prompt"
    return [Problem("data.over_length", message, hint), *empty]


def _too_long(findings: Findings, config: Config) -> list[Problem]:
    """The first dialogues that are too long, where they are an error."""
    if config.data.over_length != "error":
        return []
    found = (each for each in findings.rejected if each.check == "too_long")
    shown = [Problem(each.where, each.reason) for each in islice(found, _MOST_ROW_PROBLEMS)]
    left = findings.checks["too_long"].count - len(shown)
    return (
        [*shown, Problem("", f"… and {left} more; `casekit data check --all` lists every one")]
        if left
        else shown
    )


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
        f"nothing usable is left in {' and '.join(empty)}: {read} rows read, {len(preparation.entries)} kept"
    )
    hint = "bring more rows, or change data.split (column, group_by, valid, test)"
    named = Counter(entry.group for entry in preparation.entries if entry.named)
    if not named:
        return [Problem("data", message, hint)]
    (largest, count), *_ = named.most_common(1)
    shown = preparation.findings.redact(largest)
    return [
        Problem("data", message, hint),
        Problem(
            where="data.split.group_by",
            message=f"is {data.split.group_by!r}, and a group is never divided: there are {len(named)}, "
            f"the largest, {shown!r}, with {count} of {len(preparation.entries)} rows",
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
        write_split(preparation.store.rows(preparation.of(split)), folder / split, config)
    write_lines(folder / "rejected.jsonl", map(_rejection_line, preparation.findings.rejected))
    summary = _summary(preparation, config, identity, tokenizer)
    write_json(folder / "data.json", summary)
    may_show = partial(preparation.may_be_shown, system_prompt=config.data.system_prompt)
    rows = spread(preparation.of("train"), preparation.store, config.data.slices, may_show)
    write_page(folder / "data.html", summary, rows, tokenizer, config)


def _summary(
    done: Preparation, config: Config, identity: str, tokenizer: "PreTrainedTokenizerBase"
) -> dict[str, Any]:
    summary = summarise(
        done.entries, done.findings, done.balance, done.sources, done.benchmarks, config, identity
    )
    return summary | {"tokenizer": tokenizer_hash(tokenizer), "libraries": libraries()}


def _rejection_line(rejection: Rejection) -> str:
    return json.dumps(vars(rejection), ensure_ascii=False, allow_nan=False) + "\n"
