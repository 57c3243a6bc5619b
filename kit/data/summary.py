"""What `data.json` says: sources, rows in and out, checks, lengths, slices."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from kit import __version__
from kit.config.schema import Config
from kit.data.balance import Balance, values_of
from kit.data.benchmarks import Benchmark
from kit.data.check import Findings
from kit.data.fingerprint import settings
from kit.data.rows import SPLITS, Row, SourceInfo
from kit.data.stages import count_stages
from kit.data.store import Entry

_WIDTHS = (5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000)
_MOST_BINS = 16


def summarise(
    entries: Sequence[Entry],
    findings: Findings,
    balance: Balance,
    sources: Sequence[SourceInfo],
    benchmarks: Sequence[Benchmark],
    config: Config,
    fingerprint: str,
) -> dict[str, Any]:
    """The contents of `data.json` (architecture page); rows read = kept + rejected + left out."""
    kept = Counter(entry.source for entry in entries)
    splits = Counter(entry.split for entry in entries)
    languages = {"turns": findings.languages, "not_judged": findings.not_judged}
    return {
        "schema": 1,
        "fingerprint": fingerprint,
        "kit_version": __version__,
        "sources": [{**vars(source), "kept": kept[source.name]} for source in sources],
        "benchmarks": [
            {"name": benchmark.name, "sha256": benchmark.sha256, "texts": len(benchmark.texts)}
            for benchmark in benchmarks
        ],
        "rows": {
            "read": sum(source.rows for source in sources),
            "kept": len(entries),
            "rejected": len(findings.rejected),
            "left_out": sum(source.left_out for source in sources),
            **{split: splits[split] for split in SPLITS},
        },
        "checks": [check.as_json() for check in findings.checks.values()],
        "personal": findings.personal.as_json(config.data),
        "tokens": _tokens(entries),
        "over_length": _over_length(entries, findings, config),
        "slices": {
            column: {value: members.rows for value, members in by_value.items()}
            for column, by_value in balance.slices.items()
        },
        "languages": languages if findings.on("language") else None,
        "balance": values_of(balance) if findings.on("balance") else [],
        "preference": balance.sides.as_json(),
        "stages": count_stages(entries, config),
        "settings": settings(config),
    }


def expected_of(row: Row, config: Config) -> dict[str, Any]:
    """The row's labels and facts: the columns of `data.expected` and `data.slices`, null where absent."""
    columns = dict.fromkeys([*config.data.expected, *config.data.slices])
    return {column: parsed(row.fields.get(column)) for column in columns}


def parsed(value: Any) -> Any:
    """Lists and objects arrive from CSV as JSON text; other text stays as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return value


def _tokens(rows: Sequence[Entry | Row]) -> dict[str, Any]:
    lengths = sorted(row.tokens for row in rows)
    if not lengths:
        return {"median": 0, "p95": 0, "max": 0, "samples": 0, "supervised_share": 0.0, "histogram": []}
    share = sum(row.trained_tokens for row in rows) / sum(row.all_tokens for row in rows)
    return {
        "median": lengths[len(lengths) // 2],
        "p95": lengths[-(-len(lengths) * 95 // 100) - 1],  # the nearest rank
        "max": lengths[-1],
        "samples": sum(row.samples for row in rows),
        "supervised_share": round(share, 4),
        "histogram": _histogram(lengths),
    }


def _over_length(entries: Sequence[Entry], findings: Findings, config: Config) -> dict[str, Any]:
    """What became of dialogues over `model.max_length`; `rows` and what follows count those kept otherwise
    than they were found.
    """
    changed = [entry for entry in entries if entry.tokens_before]
    return {
        "policy": config.data.over_length,
        "rejected": findings.checks["too_long"].count,
        "rows": len(changed),
        "samples": sum(entry.samples for entry in changed),
        "tokens_before": sum(entry.tokens_before for entry in changed),
        "tokens_after": sum(entry.all_tokens for entry in changed),
    }


def _histogram(lengths: Sequence[int]) -> list[dict[str, int]]:
    """Counts in bins of one round width, from 0 to the longest; a bin holds low <= tokens < high."""
    width = next((w for w in _WIDTHS if lengths[-1] < w * _MOST_BINS), -(-lengths[-1] // _MOST_BINS) + 1)
    counts = Counter(length // width for length in lengths)
    return [
        {"low": bin_ * width, "high": (bin_ + 1) * width, "count": counts[bin_]}
        for bin_ in range(lengths[-1] // width + 1)
    ]
