"""Writes the support page: which stages and methods were trained together, and what is refused and why.

All of it is a record that `make support` writes from the tests that ran; the reasons are those of
`kit.config.support`. `python -m kit.config.support_page docs/reference/support.json` prints the page.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kit.config.errors import ConfigError, Problem
from kit.config.methods import method_names
from kit.config.support import REFUSALS

RECORD = "support.json"


class Trained(NamedTuple):
    """A combination that was trained, with the loss of its first and last step; of grpo, the mean reward."""

    stage: str
    method: str
    """A method's name, or with what was set besides, such as `lora, use_dora`."""
    option: str
    processes: int
    first: float
    last: float


class Refused(NamedTuple):
    """A combination that `casekit config` refused, and by which lines of the table."""

    stage: str
    method: str
    option: str
    what: list[str]


@dataclass(frozen=True)
class Record:
    """What `make support` found."""

    made_with: dict[str, str]
    """Library -> version."""
    trained: list[Trained]
    refused: list[Refused]


def read_record(path: Path) -> Record:
    """The record in `path`.

    Raises:
        ConfigError: it is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Record(
            found["made_with"],
            [Trained(*cell) for cell in found["trained"]],
            [Refused(*cell) for cell in found["refused"]],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"is no record of what was trained ({type(error).__name__}: {error})"
        raise ConfigError(Problem(str(path), message, "write it with `make support`")) from error


_HEAD = """\
# What is supported

Written by `make support`; do not edit. It trains every combination below that is not refused, a few steps
on a small random model on a CPU, checks that the loss falls and that the golden checkpoint loads and answers,
and writes down what it found. The tests train them all again, and hold this page against what
`casekit config` refuses. The loss of `grpo` does not fall as it learns. Of that stage it is checked that
every step draws answers and notes their reward, that the weights leave the reference, and that the golden
checkpoint loads and answers; tests of its own check that what is rewarded becomes likelier.
"""
_NOTE = """\
`1, 2` says that a combination was trained with one process and with two, each with a copy of the model; what
is refused has the numbers of its reasons, [listed below](#refused).
"""
_SHARDED = """\
`fsdp`, `zero2` and `zero3` are values of `hardware.sharding`, over two processes on CPUs.
"""


def markdown_page(record: Record) -> str:
    """The page: stages by methods, what is set besides, and the reasons of what is refused."""
    cells: list[Trained | Refused] = [*record.trained, *record.refused]
    stages = list(dict.fromkeys(cell.stage for cell in cells))
    methods = list(dict.fromkeys(cell.method for cell in cells))
    settings = [cell for cell in cells if cell.option]
    options = list(dict.fromkeys(cell.option for cell in settings))
    plain = [name for name in method_names() if name in methods]
    added = [name for name in methods if name not in plain]
    tried = [stage for stage in stages if any(cell.stage == stage and cell.method in added for cell in cells)]
    parts = [_HEAD, _made_with(record), "", "## Stages and methods", "", _NOTE]
    parts += _table("method", plain, [(stage, stage, "") for stage in stages], record)
    parts += ["", "## LoRA with something added", ""]
    parts += _table("`method`", added, [(stage, stage, "") for stage in tried], record)
    parts += ["", "## Settings that a method may not bear, with sft", "", _SHARDED]
    rows = list(dict.fromkeys(cell.method for cell in settings))
    parts += _table("method", rows, [(f"`{option}`", "sft", option) for option in options], record)
    shared = [cell for cell in record.trained if cell.option and cell.stage != "sft"]
    columns = [
        (f"{stage}, `{option}`", stage, option)
        for stage, option in dict.fromkeys((cell.stage, cell.option) for cell in shared)
    ]
    parts += ["", "## Shared out, with other stages", ""]
    parts += _table("method", list(dict.fromkeys(cell.method for cell in shared)), columns, record)
    parts += ["", "## Refused", ""]
    parts += [
        f"{number}. {refusal.what}: {refusal.reason}. Instead: {refusal.hint}."
        for number, refusal in enumerate(REFUSALS, start=1)
    ]
    return "\n".join(parts) + "\n"


def _made_with(record: Record) -> str:
    return "Made with " + ", ".join(f"{name} {number}" for name, number in record.made_with.items()) + "."


def _table(title: str, methods: list[str], columns: list[tuple[str, str, str]], record: Record) -> list[str]:
    """Rows of methods under columns, each with its title, stage and option."""
    lines = [f"| {title} | {' | '.join(column[0] for column in columns)} |", "|---|" + "---|" * len(columns)]
    for method in methods:
        cells = [_cell(record, (stage, method, option)) for _, stage, option in columns]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return lines


def _cell(record: Record, of: tuple[str, str, str]) -> str:
    """What is said of one combination: with how many processes it was trained, or why it is refused."""
    counts = ", ".join(map(str, sorted(cell.processes for cell in record.trained if cell[:3] == of)))
    return counts or (f"refused ({why})" if (why := _numbers(record, of)) else "not tried")


def _numbers(record: Record, of: tuple[str, str, str]) -> str:
    """The numbers of the reasons for which a combination is refused; empty where it is not."""
    names = [refusal.what for refusal in REFUSALS]
    numbers = {names.index(what) + 1 for cell in record.refused if cell[:3] == of for what in cell.what}
    return ", ".join(map(str, sorted(numbers)))


if __name__ == "__main__":
    print(markdown_page(read_record(Path(sys.argv[1]))), end="")
