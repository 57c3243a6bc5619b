"""The project's own checks, from its hooks: a row in, a reason or None out."""

from kit.config.errors import DataError, Problem
from kit.config.schema_data import Checks
from kit.data.check import WHAT, Findings
from kit.data.read import HOOK_ERRORS, unknown_hook
from kit.data.rows import Row, reject
from kit.hooks import Hooks, RowCheck


def find_checks(checks: Checks, hooks: Hooks) -> dict[str, RowCheck]:
    """The project's checks that the settings name and do not switch off.

    Raises:
        DataError: the hooks have no check of that name, or the kit has one; all such names at once.
    """
    problems: list[Problem] = []
    for name in checks.custom:
        if name in WHAT:
            message = f"{name!r} is a check of the kit"
            problems.append(Problem("data.checks.custom", message, "give the hook's check another name"))
        elif name not in hooks.checks:
            problems += unknown_hook("check", name, sorted(hooks.checks), "data.checks.custom").problems
    if problems:
        raise DataError(problems)
    return {name: hooks.checks[name] for name, severity in checks.custom.items() if severity != "off"}


def passes_custom(row: Row, checks: dict[str, RowCheck], findings: Findings) -> bool:
    """Whether a row stays. A check sees it as a cleaner does, with all its columns; one that fails on a row
    turns it away, for nobody knows what it would have said.
    """
    for name, check in checks.items():
        try:
            reason = check(row.for_hooks)
            if not (reason is None or (isinstance(reason, str) and reason)):
                raise TypeError(f"must return a reason or None, returned {reason!r}")
        except HOOK_ERRORS as error:
            failed = f"the check {name!r} failed: {type(error).__name__}: {error}"
            findings.turn_away(reject(row, name, failed))
            return False
        if reason and not findings.found(row, name, reason):
            return False
    return True
