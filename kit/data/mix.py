"""How much of each source is kept: `max_rows` and `weight`, by a hash of the content alone.

Which rows stay depends neither on their order nor on the files they stand in, nor on who reads them.
"""

from collections import Counter
from collections.abc import Sequence

from kit.config.schema_data import Source
from kit.data.rows import Row, SourceInfo
from kit.data.store import Entry, Store
from kit.files import sha256_json


def mix(
    entries: list[Entry], store: Store, sources: Sequence[Source], infos: Sequence[SourceInfo]
) -> list[Entry]:
    """The rows that stay, in their old order.

    Args:
        entries: of the rows that passed the checks; `part` is the index of their source.
        store: where their texts lie.
        sources: as the settings name them.
        infos: one for each file; what is left out of it is counted there, for it is not rejected.
    """
    there = Counter(entry.part for entry in entries)
    most = allowed(there, sources)
    gone: set[int] = set()
    for part, count in most.items():
        if count < there[part]:
            own = [entry for entry in entries if entry.part == part]
            order = {entry.number: _by_content(store.row(entry)) for entry in own}
            gone |= {entry.number for entry in sorted(own, key=lambda entry: order[entry.number])[count:]}
    left_out = Counter(entry.source for entry in entries if entry.number in gone)
    for info in infos:
        info.left_out = left_out[info.name]
    return [entry for entry in entries if entry.number not in gone]


def allowed(there: Counter[int], sources: Sequence[Source]) -> dict[int, int]:
    """How many rows of each source stay: at most `max_rows`, and of those with a `weight` so many that
    their numbers are as the weights. The scarcest for its weight stays whole; no row is repeated.

    Args:
        there: index of a source -> its rows; a source without rows has no part in the shares.
    """
    most = {part: min(count, sources[part].max_rows or count) for part, count in there.items() if count}
    shares = {part: weight for part in most if (weight := sources[part].weight) is not None}
    unit = min((most[part] / weight for part, weight in shares.items()), default=0.0)
    return most | {part: max(1, round(unit * weight)) for part, weight in shares.items()}


def _by_content(row: Row) -> tuple[str, str]:
    return row.id, sha256_json(row.fields)
