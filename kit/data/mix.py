"""How much of each source is kept: `max_rows` and `weight`, by a hash of the content alone.

Which rows stay depends neither on their order nor on the files they stand in, nor on who reads them.
"""

from collections import Counter
from collections.abc import Sequence

from kit.config.schema import Source
from kit.data.rows import Row, SourceInfo
from kit.files import sha256_json


def mix(rows: list[Row], sources: Sequence[Source], infos: Sequence[SourceInfo]) -> list[Row]:
    """The rows that stay, in their old order.

    Args:
        rows: the rows that passed the checks; `row.part` is the index of their source.
        sources: as the settings name them.
        infos: one for each file; what is left out of it is counted there, for it is not rejected.
    """
    there = Counter(row.part for row in rows)
    most = allowed(there, sources)
    chosen: set[int] = set()
    for part, count in most.items():
        own = [row for row in rows if row.part == part]
        if count < len(own):
            own = sorted(own, key=_by_content)[:count]
        chosen |= {id(row) for row in own}
    left_out = Counter(row.source for row in rows if id(row) not in chosen)
    for info in infos:
        info.left_out = left_out[info.name]
    return [row for row in rows if id(row) in chosen]


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
