"""Which split a row lands in: named by its source, by a column, else by a hash.

The hash is that of the row's group and of nothing else: a row stays where it is when others come and
go. Where no group is named, rows that ask the same are a group: they stay together, and evaluation
counts them as one witness.
"""

import hashlib

from kit.config.schema import Split
from kit.data.rows import Rejection, Row, SplitName, as_text, reject
from kit.data.same import key

NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}


def assign(row: Row, split: Split) -> Rejection | None:
    """Set the row's group and split; a split column with an unknown name rejects the row."""
    group = row.fields.get(split.group_by) if split.group_by else None
    row.group = key(row.messages[:-1]) if group is None else as_text(group)
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


def split_by_hash(together: str, valid: float, test: float) -> SplitName:
    """Train, valid or test by a text's sha256, read as a number between 0 and 1."""
    share = int(hashlib.sha256(together.encode()).hexdigest()[:16], 16) / 2**64
    if share < test:
        return "test"
    return "valid" if share < test + valid else "train"
