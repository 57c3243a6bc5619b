"""Columns of yes and no that metrics read: true and false, however they were written.

A spreadsheet has `yes`, YAML `true`, an export `1`. Read as text, `yes` would count as no without a word.
"""

from typing import Any

from kit.config.explain import shorten
from kit.config.schema_data import Data
from kit.data.rows import Rejection, Row, reject

FLAGS = ("answerable", "red_flag", "hand_over")
"""The columns of `data.expected` that are read so."""
SPELLINGS = {
    **dict.fromkeys(("true", "yes", "y", "t", "1", "1.0"), True),
    **dict.fromkeys(("false", "no", "n", "f", "0", "0.0"), False),
}


def flag_of(value: Any) -> bool | None:
    """A flag as true or false, in any usual spelling; None where nothing stands there.

    Raises:
        ValueError: it is something else.
    """
    text = str(value).strip().casefold()
    if value is None or text in ("", "nan"):
        return None
    if text not in SPELLINGS or not isinstance(value, bool | int | float | str):
        raise ValueError(f"expected yes or no (or true, false, 1, 0), found {shorten(value)}")
    return SPELLINGS[text]


def read_flags(row: Row, data: Data) -> Rejection | None:
    """Set the row's flags to true, false or nothing; a rejection where one is neither yes nor no."""
    for name in FLAGS:
        if name not in data.expected or name not in row.fields:
            continue
        try:
            row.fields[name] = flag_of(row.fields[name])
        except ValueError as error:
            return reject(row, "flag", f"`{name}`: {error}")
    return None
