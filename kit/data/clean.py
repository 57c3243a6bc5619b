"""Cleaning before the checks: line ends and outer white space, then the project's own cleaners."""

from kit.config.errors import DataError
from kit.data.formats import check_messages
from kit.data.preference import label_of, rejected_answer
from kit.data.read import HOOK_ERRORS, plain, unknown_hook
from kit.data.rows import Message, Rejection, Row, reject
from kit.data.tools import read_tools
from kit.hooks import Cleaner, Hooks


def find_cleaners(names: list[str], hooks: Hooks) -> list[tuple[str, Cleaner]]:
    """The project's cleaners by name, in the order given.

    Raises:
        DataError: the hooks have no cleaner of that name; all such names at once.
    """
    known = sorted(hooks.cleaners)
    unknown = [unknown_hook("cleaner", name, known, "data.cleaners") for name in names if name not in known]
    if unknown:
        raise DataError([problem for error in unknown for problem in error.problems])
    return [(name, hooks.cleaners[name]) for name in names]


def clean(row: Row, cleaners: list[tuple[str, Cleaner]]) -> Row | Rejection:
    """The row after all cleaners, or the rejection of the first that turned it away."""
    row.messages = _tidy(row.messages)
    if row.rejected:
        (row.rejected,) = _tidy([row.rejected])
    for name, cleaner in cleaners:
        try:
            result = cleaner(row.for_hooks)
            if result is None:
                return reject(row, "cleaner", f"turned away by the cleaner {name!r}")
            if not isinstance(result, dict):
                raise TypeError(f"must return the row or None, returned {type(result).__name__}")
            messages = check_messages(result.get("messages"))
            row.tools = read_tools(result.get("tools", row.tools))
            rejected = rejected_answer(result.pop("rejected", None)) if row.rejected else None
            label = None if row.label is None else label_of(result.get("label"))
        except HOOK_ERRORS as error:
            return reject(row, "cleaner", f"the cleaner {name!r} failed: {type(error).__name__}: {error}")
        row.messages = _tidy(messages)
        row.rejected = _tidy([rejected])[0] if rejected else None
        row.label = label
        row.fields = {
            plain(str(column)): plain(value)
            for column, value in result.items()
            if column not in ("messages", "tools")
        }
    return row


def _tidy(messages: list[Message]) -> list[Message]:
    """Text that people and models wrote; the arguments of calls are data and stay."""
    told = ("content", "reasoning_content")
    return [{key: _tidy_text(value) if key in told else value for key, value in m.items()} for m in messages]


def _tidy_text(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip().strip("\ufeff").strip()
