"""Errors written for the person who must fix them, and the exit codes that carry them.

A stage collects every `Problem` it can find and raises once. The command line prints the problems
and exits with the error's code, so that scripts and people read the same verdict.
"""

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status means; the same in the shell, in reports and in JSON."""

    DONE = 0
    GATE_FAILED = 1
    BAD_INPUT = 2
    NOT_ENOUGH_EVIDENCE = 3
    INVALID_RUN = 4
    RESUME_ME = 75
    """A run was asked to stop (SIGTERM) and saved what it had: EX_TEMPFAIL of sysexits.h, try again."""
    INTERRUPTED = 130
    """Ctrl-C: 128 and the number of SIGINT, as shells have it."""


@dataclass(frozen=True)
class Problem:
    """One thing to fix: where it is, what was found, what was expected, what to do.

    `where` is `file:line` where a line is known, else the file, the command-line word or the key.
    """

    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n    {self.hint}" if self.hint else text


class CasekitError(Exception):
    """The base of every error a user is meant to read. Carries all problems and an exit code."""

    exit_code: ExitCode = ExitCode.BAD_INPUT

    def __init__(self, problems: Problem | str | list[Problem], hint: str = "") -> None:
        if isinstance(problems, str):
            problems = Problem(where="", message=problems, hint=hint)
        self.problems: list[Problem] = problems if isinstance(problems, list) else [problems]
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConfigError(CasekitError):
    """A setting is unknown, of the wrong type or out of range (exit code 2)."""


class DataError(CasekitError):
    """Input data cannot be read, or nothing usable is left of it (exit code 2)."""


class ModelError(CasekitError):
    """A model or tokenizer cannot be loaded as asked (exit code 2)."""


class InvalidRunError(CasekitError):
    """A run cannot be trusted: mismatched conditions, broken outputs (exit code 4)."""

    exit_code = ExitCode.INVALID_RUN


class NoEvidenceError(CasekitError):
    """There is nothing that a verdict could rest on (exit code 3)."""

    exit_code = ExitCode.NOT_ENOUGH_EVIDENCE


class DiskError(CasekitError):
    """The disk does not hold, or will not hold, what has to be written (exit code 2)."""


class Terminated(BaseException):
    """SIGTERM: the machine is taken away, what there was to save is saved (exit code 75).

    No `Exception`: the signal may come anywhere, and code that catches any error must not go on.
    """

    exit_code = ExitCode.RESUME_ME
