"""Which rows `data.html` shows: the same ones every time, spread over lengths, turns and slices."""

from collections.abc import Callable, Iterable, Sequence
from heapq import nlargest, nsmallest

from kit.data.rows import Row, as_text
from kit.data.store import Entry, Store

MOST = 16
_FEWEST = 6  # if there are so many rows
_TRIED = 20  # rows of each kind, if the first ones may not be shown
_SAMPLED = 1000  # rows in which one of every slice is looked for

Shown = tuple[str, Row]
"""Why a row is shown, and the row."""


def spread(
    entries: Sequence[Entry], store: Store, slices: Sequence[str], may_show: Callable[[Row], bool]
) -> list[Shown]:
    """The longest row, the shortest, the one of most turns, one of each slice, and some others: at most 16.

    Args:
        entries: of the rows to choose from.
        store: where the rows themselves are.
        slices: columns of which every value is shown, as far as 1,000 rows have it.
        may_show: whether a row tells nothing that must stay unseen.
    """
    chosen: dict[int, Shown] = {}

    def take(why: str, candidates: Iterable[Entry]) -> None:
        for entry in candidates:
            if entry.number not in chosen and may_show(row := store.row(entry)):
                chosen[entry.number] = why, row
                return

    # Of equals the hash decides, not the order of rows.
    take("the longest", nlargest(_TRIED, entries, key=lambda entry: (entry.tokens, entry.keys.whole)))
    take("the shortest", nsmallest(_TRIED, entries, key=lambda entry: (entry.tokens, entry.keys.whole)))
    of_turns = [entry for entry in entries if len(entry.keys.answers) > 1]
    take(
        "the most turns",
        nlargest(_TRIED, of_turns, key=lambda each: (len(each.keys.answers), each.keys.whole)),
    )
    sample = nsmallest(
        _SAMPLED, entries, key=lambda entry: entry.keys.whole
    )  # by a hash: any rows, always these
    seen = {(column, as_text(row.fields.get(column))) for column in slices for _, row in chosen.values()}
    for entry in sample if slices else ():
        if len(chosen) == MOST:
            break
        row = store.row(entry)
        new = [(name, value) for name in slices if (name, value := as_text(row.fields.get(name))) not in seen]
        if new and entry.number not in chosen and may_show(row):
            chosen[entry.number] = ", ".join(f"{name}: {value}" for name, value in new), row
            seen.update(new)
    for _ in range(_FEWEST - len(chosen)):
        take("any", sample)
    return list(chosen.values())
