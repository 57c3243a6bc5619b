"""Answers of several systems to the same prompts, paired by id: what is shared, what is not, what differs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kit.config.errors import InvalidRunError, NoEvidenceError, Problem
from kit.data.same import key
from kit.evaluate.given import Given
from kit.evaluate.given_rows import SAME, GivenRow, canonical
from kit.evaluate.prompts import Prompt

_NAMED = 5
"""Ids that a message names; `scores.json` has them all."""


@dataclass(frozen=True)
class Paired:
    """Systems with the prompts that all of them answered, in the order of their ids."""

    systems: list[Given]
    prompts: list[Prompt]
    left_out: dict[str, list[str]]
    """System -> the ids that it answered and not every other did; only systems that have some."""

    @property
    def decodings(self) -> list[str]:
        """The decodings under which every system answered."""
        shared = set.intersection(*(given.decodings for given in self.systems))
        return [decoding for decoding in ("greedy", "sampled") if decoding in shared]

    @property
    def answers(self) -> int:
        """How many answers to each prompt there are of every system."""
        return min(given.answers for given in self.systems)


def pair(systems: Sequence[Given]) -> Paired:
    """Pair the systems' answers by the prompts' ids.

    What one file leaves out of a prompt is taken from those that say it.

    Raises:
        NoEvidenceError: no id is in all of them (exit code 3).
        InvalidRunError: the same id asks something else, or expects something else (exit code 4).
    """
    shared = sorted(set.intersection(*(set(given.rows) for given in systems)))
    if not shared:
        raise NoEvidenceError(_nothing_shared(systems))
    problems = [problem for name in SAME for problem in _differences(systems, shared, name)]
    if problems:
        raise InvalidRunError(problems)
    left_out = {given.name: sorted(given.rows.keys() - set(shared)) for given in systems}
    return Paired(
        systems=list(systems),
        prompts=[_prompt(id_, [given.rows[id_] for given in systems]) for id_ in shared],
        left_out={name: ids for name, ids in left_out.items() if ids},
    )


def told(ids: Sequence[str]) -> str:
    """The first few of many ids, and how many more there are."""
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more


def _nothing_shared(systems: Sequence[Given]) -> Problem:
    counts = "; ".join(
        f"{given.name} has {len(given.rows)}, such as {told(sorted(given.rows)[:1])}" for given in systems
    )
    hint = "answers are paired by `id`: give the same prompt the same id in every file"
    return Problem(systems[-1].path.name, f"no id is in all {len(systems)} of them: {counts}", hint)


def _differences(systems: Sequence[Given], shared: Sequence[str], name: str) -> list[Problem]:
    """A problem for every system that says otherwise than those before it what a prompt is."""
    found: dict[str, list[tuple[str, GivenRow, GivenRow]]] = {}
    for id_ in shared:
        first: GivenRow | None = None
        for given in systems:
            row = given.rows[id_]
            if getattr(row, name) is None:
                continue
            if first is None:
                first = row
            elif canonical(getattr(row, name)) != canonical(getattr(first, name)):
                found.setdefault(given.name, []).append((id_, row, first))
    problems = []
    for cases in found.values():
        id_, row, first = cases[0]
        here, there = _unlike(getattr(row, name), getattr(first, name))
        message = f"`{name}` of id {id_!r} is {here}, and {there} in {first.where}"
        if len(cases) > 1:
            message += f"; {len(cases)} ids differ so: {told([case[0] for case in cases])}"
        problems.append(Problem(row.where, message, "one id is one prompt: compare answers to the same"))
    return problems


def _prompt(id_: str, rows: Sequence[GivenRow]) -> Prompt:
    def said(name: str, otherwise: Any) -> Any:
        values = (getattr(row, name) for row in rows)
        return next((value for value in values if value is not None), otherwise)

    messages = [{"role": "user", "content": rows[0].prompt}]
    return Prompt(
        id=id_,
        messages=messages,
        expected=said("expected", {}),
        slices=said("slices", {}),
        # As in prepared data, rows that ask the same are one group unless a column says otherwise.
        group=said("group", None) or key(messages),
        answer=said("answer", ""),
    )


def _unlike(value: Any, other: Any) -> tuple[str, str]:
    """Two values as a message shows them, of objects the fields alone that differ: a long one hides them."""
    if isinstance(value, dict) and isinstance(other, dict):
        differ = {
            key
            for key in value.keys() | other.keys()
            if key not in value or key not in other or canonical(value[key]) != canonical(other[key])
        }
        value, other = ({key: v for key, v in side.items() if key in differ} for side in (value, other))
    return _short(value), _short(other)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else canonical(value)
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
