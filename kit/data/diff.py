"""What changed between two prepared sets: rows, splits, checks, sources, settings, lengths."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kit.config.errors import DataError, Problem
from kit.config.explain import dotted
from kit.config.show import leaves
from kit.data.prepared import load_summary
from kit.data.prepared_rows import Numbers, RowNumbers, places_of, row_numbers, text_hashes, text_numbers
from kit.data.rows import SPLITS

MOST_EXAMPLES = 5
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: spreads small numbers over all bits

Places = NDArray[np.intp]


def find_sets(root: Path, names: list[str]) -> tuple[Path, Path]:
    """The two prepared folders to compare, the earlier first.

    Args:
        root: the project's folder.
        names: folders, or beginnings of fingerprints; of two, one or none that are given the latest
            prepared stand for the rest.

    Raises:
        DataError: a name fits no prepared data or several, or there are no two.
    """
    home = root / "data" / "prepared"
    there = sorted(
        (path.parent for path in home.glob("[!.]*/data.json")),
        key=lambda folder: ((folder / "data.json").stat().st_mtime_ns, folder.name),
    )
    named = [_named(name, home, there) for name in names]
    latest = [folder for folder in there if folder.resolve() not in {path.resolve() for path in named}]
    chosen = [*named, *latest[len(named) - 2 :]] if len(named) < 2 else named
    if len(chosen) != 2:
        found = f"{len(there)} prepared set{'' if len(there) == 1 else 's'}, and two are compared"
        hint = "prepare again after a change with `casekit data prepare`, or name two folders"
        raise DataError(Problem(str(home), f"holds {found}", hint))
    return chosen[0], chosen[1]


def _named(name: str, home: Path, there: list[Path]) -> Path:
    if (Path(name) / "data.json").is_file():
        return Path(name)
    found = [folder for folder in there if folder.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    which = f"several: {', '.join(folder.name for folder in found)}" if found else "no prepared data"
    hint = f"there are {', '.join(folder.name for folder in there) or 'none'} in {home}"
    raise DataError(Problem(name, f"names {which}", hint))


def diff(before: Path, after: Path) -> dict[str, Any]:
    """Compare two prepared folders (JSON values; `docs/reference/data.md` says what each means).

    Raises:
        DataError: a folder cannot be read.
    """
    old, new = load_summary(before), load_summary(after)
    return {
        "schema": 1,
        "sets": [_set(folder, summary) for folder, summary in ((before, old), (after, new))],
        "notes": list(_notes(old, new)),
        "rows": _pairs(old["rows"], new["rows"]),
        "changes": _changes(before, after),
        "checks": _pairs(_counts(old), _counts(new), 0),
        "tokens": _pairs(_lengths(old), _lengths(new)),
        "sources": _pairs(_hashes(old), _hashes(new), changed_only=True),
        "settings": _pairs(_settings(old), _settings(new), changed_only=True),
    }


def _set(folder: Path, summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "fingerprint": summary["fingerprint"],
        "kit_version": summary["kit_version"],
        "tokenizer": summary.get("tokenizer"),
    }


def _notes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What limits the comparison, in words."""
    if old["kit_version"] != new["kit_version"]:
        versions = f"{old['kit_version']} and {new['kit_version']}"
        yield f"two versions of casekit, {versions}: checks may count, and rows be written, otherwise"
    words = old.get("tokenizer"), new.get("tokenizer")
    if None in words:
        yield "one set does not say which tokenizer it was prepared for: lengths may not be comparable"
    elif words[0] != words[1]:
        yield "another tokenizer or chat template: lengths in tokens are not comparable"
    stages = [", ".join(summary["settings"].get("stages", [])) for summary in (old, new)]
    if stages[0] != stages[1]:
        yield f"other stages ({stages[0]}; {stages[1]}): rows may be of another kind"


def _pairs(
    old: dict[str, Any], new: dict[str, Any], missing: Any = None, changed_only: bool = False
) -> dict[str, list[Any]]:
    """Name -> [before, after], names in the order in which they stand."""
    names = dict.fromkeys([*old, *new])
    pairs = {name: [old.get(name, missing), new.get(name, missing)] for name in names}
    return {name: pair for name, pair in pairs.items() if not changed_only or pair[0] != pair[1]}


def _counts(summary: dict[str, Any]) -> dict[str, int]:
    return {check["name"]: check["count"] for check in summary["checks"] if check["count"]}


def _lengths(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary["tokens"].items() if name != "histogram"}


def _hashes(summary: dict[str, Any]) -> dict[str, Any]:
    files = [*summary["sources"], *summary.get("benchmarks", [])]
    return {file["name"]: (file["sha256"] or "not hashed")[:16] for file in files}


def _settings(summary: dict[str, Any]) -> dict[str, Any]:
    return {dotted(key): value for key, value in leaves(summary["settings"])}


# --- rows ---------------------------------------------------------------------------------------


@dataclass
class _Rest:
    """The rows of a set that have no partner yet."""

    folder: Path
    numbers: RowNumbers
    places: Places


@dataclass(frozen=True)
class _Matched:
    old: Places
    new: Places


def _changes(before: Path, after: Path) -> dict[str, Any]:
    """How the rows of one set became those of the other; every row counts once as `same`, in one kind of
    `changed`, or as `in` or `out`; `moved` counts those that ask the same in another split.
    """
    old, new = (
        _Rest(folder, numbers, np.arange(len(numbers.id)))
        for folder, numbers in ((folder, row_numbers(folder)) for folder in (before, after))
    )
    same = _join(_take(old, new, _id_and_split), _take(old, new, lambda rest: rest.numbers.id))
    columns = old.numbers.columns[same.old] != new.numbers.columns[same.new]
    texts = {id(rest): text_numbers(rest.folder, len(rest.numbers.id), rest.places) for rest in (old, new)}

    def said(rest: _Rest) -> Numbers:
        return texts[id(rest)].prompt + texts[id(rest)].answer * _ODD

    changed = {
        "columns": _Matched(same.old[columns], same.new[columns]),
        "system": _take(old, new, said),
        "answer": _take(old, new, lambda rest: texts[id(rest)].prompt),
        "place": _take(old, new, lambda rest: rest.numbers.place),
    }
    surely = _join(same, changed["system"], changed["answer"])  # another prompt in its place is another row
    return {
        "same": int(len(same.old) - columns.sum()),
        "changed": {name: _told(after, part.new) for name, part in changed.items()},
        "moved": _moved(old, new, surely),
        "out": _told(before, old.places) | {"rejected": _rejected(said(old)[old.places], after)},
        "in": _told(after, new.places) | {"rejected": _rejected(said(new)[new.places], before)},
    }


def _id_and_split(rest: _Rest) -> Numbers:
    """Of several rows with the same messages those in the same split belong together."""
    return rest.numbers.id + rest.numbers.split.astype(np.uint64) * _ODD


def _take(old: _Rest, new: _Rest, key: Callable[[_Rest], Numbers]) -> _Matched:
    """Pair rows of equal keys, as often as a key stands in both, and take them out of the rest."""
    old_keys, new_keys = (_numbered(key(rest)[rest.places]) for rest in (old, new))
    _, at_old, at_new = np.intersect1d(old_keys, new_keys, assume_unique=True, return_indices=True)
    matched = _Matched(old.places[at_old], new.places[at_new])
    old.places, new.places = np.delete(old.places, at_old), np.delete(new.places, at_new)
    return matched


def _numbered(keys: Numbers) -> Numbers:
    """Keys made unique: the first of its value, the second, and so on."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    begins = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1]))) if len(keys) else order
    nth = np.arange(len(keys)) - np.repeat(begins, np.diff(np.append(begins, len(keys))))
    unique = np.empty_like(keys)
    unique[order] = ranked ^ (nth.astype(np.uint64) * _ODD)
    return unique


def _join(*parts: _Matched) -> _Matched:
    return _Matched(
        np.concatenate([part.old for part in parts]), np.concatenate([part.new for part in parts])
    )


def _moved(old: _Rest, new: _Rest, matched: _Matched) -> dict[str, Any]:
    from_, to = old.numbers.split[matched.old], new.numbers.split[matched.new]
    ways = Counter(zip(from_[from_ != to].tolist(), to[from_ != to].tolist(), strict=True))
    named = {f"{SPLITS[one]} to {SPLITS[other]}": count for (one, other), count in sorted(ways.items())}
    return _told(new.folder, matched.new[from_ != to]) | {"ways": named}


def _told(folder: Path, places: Places) -> dict[str, Any]:
    """How many rows, and where the first of them stand."""
    first = np.sort(places)[:MOST_EXAMPLES]
    return {"count": len(places), "examples": places_of(folder, first)}


def _rejected(gone: Numbers, other: Path) -> dict[str, int]:
    """Of the rows that only one set has: how many the other turned away, by check.

    Args:
        gone: what each of them asks and says; the same words count as the same row.
    """
    missing = set(gone.tolist())
    found = Counter(check for said, check in _turned_away(other) if said in missing) if missing else Counter()
    return dict(found.most_common())


def _turned_away(folder: Path) -> Iterator[tuple[int, str]]:
    with (folder / "rejected.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            rejection = json.loads(line)
            row = rejection["row"]
            if isinstance(row, dict) and _is_dialogue(row.get("messages")):
                prompt, answer = text_hashes(row["messages"])
                yield (prompt + answer * int(_ODD)) % 2**64, rejection["check"]


def _is_dialogue(messages: Any) -> bool:
    """What was found may be anything; only what was read as messages can be a row of the other set."""
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(isinstance(message, dict) and message.get("role") for message in messages)
    )
