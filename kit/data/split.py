"""Which split a row lands in: named by its source, by a column, else by a hash.

The hash is that of the row's group and of nothing else: a row stays where it is when others come and
go. Where no group is named, rows that ask the same are a group, whatever their system message: they stay
together, and evaluation counts them as one witness.
"""

import hashlib
import re
from typing import Any

from kit.config.schema_data import Split
from kit.data.rows import Rejection, Row, SplitName, as_text, reject
from kit.data.same import normal, prompt_key

NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
_WHOLE = re.compile(r"([+-]?\d+)\.0+")


def assign(row: Row, split: Split) -> Rejection | None:
    """Set the row's group and split; a split column with an unknown name rejects the row."""
    row.group = group_of(row, split) or prompt_key(row.messages)
    if row.split is not None:
        return None
    named = row.fields.get(split.column) if split.column else None
    if named is None:
        row.split = split_by_hash(row.group, split.valid, split.test)
        return None
    if str(named).strip().lower() not in NAMES:
        return reject(row, "split", f"{split.column} is {named!r}, expected one of {', '.join(NAMES)}")
    row.split = NAMES[str(named).strip().lower()]
    return None


def group_of(row: Row, split: Split) -> str | None:
    """The value of the row's group column as groups are compared; None where it is missing or blank."""
    value = row.fields.get(split.group_by) if split.group_by else None
    return None if value is None else _same_group(value) or None


def _same_group(value: Any) -> str:
    """One text for `A` and `a `, and for 7 and 7.0: a column with gaps comes out of pandas as decimals."""
    text = normal(as_text(value))
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def split_by_hash(together: str, valid: float, test: float) -> SplitName:
    """Train, valid or test by a text's sha256, read as a number between 0 and 1."""
    share = int(hashlib.sha256(together.encode()).hexdigest()[:16], 16) / 2**64
    if share < test:
        return "test"
    return "valid" if share < test + valid else "train"
