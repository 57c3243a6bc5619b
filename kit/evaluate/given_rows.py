"""A prompt with its answers in a file of answers: several are lines of their own, numbered by `sample`.

Every prompt has as many: an answer that is not there may be one that failed, and would have been the worst.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit.config.errors import Problem
from kit.evaluate.predictions import Line

SAME = ("prompt", "expected", "answer", "slices", "group")
"""What two lines, or two files, that both say it of a prompt must say alike."""

_FAILED = "one that failed is an answer too, with an empty `output`"


@dataclass(frozen=True)
class GivenRow:
    """A prompt with a system's answers to it; what a file does not say of the prompt is None."""

    where: str
    """`file:line`, or the file."""
    prompt: str
    outputs: Mapping[str, Line]
    """Decoding -> `{"output", "finished"}`; `greedy` where nobody knows how an answer was drawn."""
    expected: dict[str, Any] | None = None
    answer: str | None = None
    slices: dict[str, str] | None = None
    group: str | None = None
    drawn: tuple[Line, ...] = ()
    """Of several answers to the prompt all of them, by their number; empty where there is one."""


def canonical(value: Any) -> str:
    """A value as text that is the same for the same JSON: true is not 1."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def add_sample(
    found: dict[str, dict[int, GivenRow]],
    id_: str,
    sample: int | None,
    row: GivenRow,
    problems: list[Problem],
) -> None:
    """Put a line's answer beside the others to the same prompt; one that is there already is a problem.

    Args:
        found: id -> number of the answer -> its line.
        sample: None where the line does not say: then it is the first.
    """
    samples = found.setdefault(id_, {})
    number = sample or 0
    if number in samples:
        twice = "stands twice" if sample is None else f"has sample {number} twice"
        hint = f"it is the id of {samples[number].where} too; number several answers by `sample`: 0, 1, …"
        problems.append(Problem(row.where, f"the id {id_!r} {twice}", hint))
        return
    samples[number] = row


def joined(id_: str, samples: Mapping[int, GivenRow], problems: list[Problem]) -> GivenRow:
    """One row a prompt: the first answer is what is compared, `drawn` holds all where there are several."""
    numbers = sorted(samples)
    rows = [samples[number] for number in numbers]
    if numbers != list(range(len(numbers))):
        told = ", ".join(map(str, numbers[:10])) + (", …" if len(numbers) > 10 else "")
        hint = f"number them from 0 on without a gap; {_FAILED}"
        problems.append(Problem(rows[0].where, f"the answers to {id_!r} have the samples {told}", hint))
    if len(rows) == 1:
        return rows[0]
    known: dict[str, Any] = {}
    for name in SAME:
        said = [row for row in rows if getattr(row, name) is not None]
        other = [row for row in said if canonical(getattr(row, name)) != canonical(getattr(said[0], name))]
        known[name] = getattr(said[0], name) if said else None
        if other:
            message = f"`{name}` of the id {id_!r} is another than in {said[0].where}"
            problems.append(Problem(other[0].where, message, "answers of one id are answers to one prompt"))
    return replace(rows[0], **known, drawn=tuple(row.outputs["greedy"] for row in rows))


def uneven(path: Path, counts: Mapping[str, int]) -> list[Problem]:
    """Prompts that have fewer answers than others, as one problem.

    Args:
        counts: id -> how many answers there are.
    """
    most = max(counts.values(), default=1)
    fewer = [id_ for id_, count in counts.items() if count < most]
    if not fewer:
        return []
    named = ", ".join(f"{id_!r} ({counts[id_]})" for id_ in fewer[:5])
    more = f" and {len(fewer) - 5} more ids" if len(fewer) > 5 else ""
    message = f"there are {most} answers to a prompt, and fewer to {named}{more}"
    hint = f"give every prompt as many, or leave it out; {_FAILED}"
    return [Problem(str(path), message, hint)]
