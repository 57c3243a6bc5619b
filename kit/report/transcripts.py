"""Which answers to read first: the prompts that lost most by tuning, then those that gained most.

Rates decide, because they say right or wrong; a case without rates falls back on its other scores.
Times never decide. An item's change is the sum over metrics of tuned minus base, signed so that a
loss is negative; losses and gains are summed apart, so that a gain on one metric hides no loss.
"""

from dataclasses import dataclass
from typing import Literal

from kit.evaluate.naming import BASE_AND_TUNED, Names, names_of
from kit.report.formatting import count, plural, quantity, shortened
from kit.report.read import Json
from kit.report.scores import unit_of
from kit.report.view import Mark, Side, Transcript, Transcripts

REGRESSIONS_SHOWN = 20
GAINS_SHOWN = 10
ANSWER_LIMIT = 2_000
"""Characters of a prompt or answer that are shown; the rest stands in `predictions.jsonl`."""

_HEADING = 110
"""Characters of a prompt in the line that opens its transcript."""


@dataclass(frozen=True)
class _Change:
    """How one item moved."""

    item: Json
    lost: float
    gained: float
    moved: list[str]


def pick_transcripts(scores: Json, titles: dict[str, str]) -> Transcripts:
    """The worst regressions and best gains under greedy decoding, and how many there are of each.

    Args:
        scores: the contents of `scores.json`.
        titles: what the policy's rules are called, by their code.
    """
    names = names_of(scores)
    metrics = {m["name"]: m for m in scores["metrics"] if m["decoding"] == "greedy"}
    deciding = {name: m for name, m in metrics.items() if unit_of(m) == "rate"} or {
        name: m for name, m in metrics.items() if unit_of(m) == "score"
    }
    changes = [_change(item, deciding) for item in scores.get("items") or [] if item.get("greedy")]
    regressions = sorted((c for c in changes if c.lost < 0), key=lambda c: (c.lost, c.gained, c.item["id"]))
    gains = sorted(
        (c for c in changes if c.lost == 0 and c.gained > 0), key=lambda c: (-c.gained, c.item["id"])
    )
    return Transcripts(
        regressions=[_transcript(c, "regression", metrics, titles) for c in regressions[:REGRESSIONS_SHOWN]],
        regressions_note=_note(names, len(regressions), len(changes), REGRESSIONS_SHOWN, "worse on a metric"),
        gains=[_transcript(c, "gain", metrics, titles) for c in gains[:GAINS_SHOWN]],
        gains_note=_note(names, len(gains), len(changes), GAINS_SHOWN, "better, and on no metric worse"),
    )


def _note(names: Names, found: int, prompts: int, limit: int, what: str) -> str:
    """How many prompts moved and how many of them are shown."""
    made = "Tuning made" if names == BASE_AND_TUNED else f"{names.tuned} against {names.base}:"
    if not found:
        return f"{made} none of the {plural(prompts, 'prompt')} {what}."
    shown = "All are shown" if found <= limit else f"The first {limit} are shown"
    moved = f"{made} {count(found)} of {plural(prompts, 'prompt')} {what}."
    return f"{moved} {shown}, the greatest change first."


def _change(item: Json, deciding: dict[str, Json]) -> _Change:
    base, tuned = item["greedy"]["base"]["scores"], item["greedy"]["tuned"]["scores"]
    lost = gained = 0.0
    moved = []
    for name, metric in deciding.items():
        before, after = base.get(name), tuned.get(name)
        if before is None or after is None or before == after:
            continue
        step = (after - before) * (1 if metric["higher_is_better"] else -1)
        lost, gained = lost + min(step, 0.0), gained + max(step, 0.0)
        moved.append(f"{metric['label']} {'worse' if step < 0 else 'better'}")
    return _Change(item, lost, gained, moved)


def _transcript(
    change: _Change, kind: Literal["regression", "gain"], metrics: dict[str, Json], titles: dict[str, str]
) -> Transcript:
    item = change.item
    prompt, _ = shortened(item["prompt"], ANSWER_LIMIT)
    heading, left_out = shortened(" ".join(prompt.split()), _HEADING)
    reference, _ = shortened(item["answer"], ANSWER_LIMIT)
    answers = item["greedy"]
    return Transcript(
        id=item["id"],
        kind=kind,
        heading=f"{heading}…" if left_out else heading,
        prompt="" if heading == prompt else prompt,
        reference=reference,
        slices=[f"{column}: {value}" for column, value in item.get("slices", {}).items()],
        changed="; ".join(sorted(change.moved, key=lambda text: not text.endswith("worse"))),
        base=_side("base", answers["base"], metrics, titles),
        tuned=_side("tuned", answers["tuned"], metrics, titles),
    )


def _side(system: str, answer: Json, metrics: dict[str, Json], titles: dict[str, str]) -> Side:
    output, left_out = shortened(answer["output"], ANSWER_LIMIT)
    details = answer.get("details") or {}
    marks = []
    for name, metric in metrics.items():
        value = answer["scores"].get(name)
        if value is not None:
            reasons = [_reason(reason, titles) for reason in details.get(name) or []]
            marks.append(_mark(metric, value, reasons))
    return Side(system, output, count(left_out) if left_out else "", answer.get("invalid") or "", marks)


def _mark(metric: Json, value: float, reasons: list[str]) -> Mark:
    unit = unit_of(metric)
    if unit != "rate":
        return Mark(metric["label"], quantity(value, unit), None, reasons)
    good = (value == 1) == metric["higher_is_better"]
    return Mark(metric["label"], "pass" if good else "fail", good, reasons)


def _reason(reason: str, titles: dict[str, str]) -> str:
    """A rule's code with what it stands for, or a reason in words, cut where it is long."""
    named = f"{reason}: {titles[reason]}" if reason in titles else reason
    return shortened(named, 200)[0]
