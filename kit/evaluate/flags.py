"""Flags of a row, as metrics and policies ask for them: also in answers that came from elsewhere."""

from collections.abc import Mapping
from typing import Any

from kit.config.errors import DataError, Problem
from kit.data.flags import flag_of


def flag(expected: Mapping[str, Any], name: str) -> bool | None:
    """A flag of a row in any usual spelling of yes and no; None where it has none.

    Raises:
        DataError: it is neither: a row that a gate looks for would be left out unseen.
    """
    try:
        return flag_of(expected.get(name))
    except ValueError as error:
        hint = "write true or false, or leave it out"
        raise DataError(Problem(f"a row's `{name}`", str(error), hint)) from error
