"""Which answers to read first: the prompts that lost most by tuning, then those that gained most.

Rates decide, because they say right or wrong; a case without rates falls back on its other scores.
Times never decide. An item's change is the sum over metrics of tuned minus base, signed so that a
loss is negative; losses and gains are summed apart, so that a gain on one metric hides no loss.
"""

from dataclasses import dataclass
from typing import Literal

from kit.evaluate.naming import BASE_AND_TUNED, Names, names_of
from kit.report.formatting import count, plural, quantity, shortened
from kit.report.nearest import nearest_note, nearest_of
from kit.report.read import Json
from kit.report.scores import unit_of
from kit.report.view_evidence import Mark, Piece, Side, Transcript, Transcripts
from kit.report.word_diff import word_diff

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
        nearest_note=nearest_note(scores),
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
    heading, prompt = prompt_lines(item["prompt"])
    reference, _ = shortened(item["answer"], ANSWER_LIMIT)
    answers = item["greedy"]
    said, done = (shortened(answers[system]["output"], ANSWER_LIMIT)[0] for system in ("base", "tuned"))
    marked = _marked(said, done, reference)
    return Transcript(
        id=item["id"],
        kind=kind,
        heading=heading,
        prompt=prompt,
        reference=reference,
        reference_pieces=marked.reference,
        slices=[f"{column}: {value}" for column, value in item.get("slices", {}).items()],
        changed="; ".join(sorted(change.moved, key=lambda text: not text.endswith("worse"))),
        difference=marked.note,
        nearest=nearest_of(item),
        base=_side("base", answers["base"], marked.base, metrics, titles),
        tuned=_side("tuned", answers["tuned"], marked.tuned, metrics, titles),
    )


def prompt_lines(prompt: str) -> tuple[str, str]:
    """A prompt on one line, shortened, and the whole of it where the line does not hold it all."""
    whole, _ = shortened(prompt, ANSWER_LIMIT)
    heading, left_out = shortened(" ".join(whole.split()), _HEADING)
    return f"{heading}…" if left_out else heading, "" if heading == whole else whole


@dataclass(frozen=True)
class _Marked:
    """The texts of a transcript in pieces, none where nothing is marked, and what they were held against."""

    base: list[Piece]
    tuned: list[Piece]
    reference: list[Piece]
    note: str


def _marked(base: str, tuned: str, reference: str) -> _Marked:
    """Base and tuned held against each other; where they share too little, tuned against the reference."""
    if base == tuned:
        return _Marked([], [], [], "Both answers are the same." if base else "")
    pieces = word_diff(base, tuned)
    if pieces is not None:
        return _Marked(*pieces, [], "")
    apart = "The two answers have too little in common to be held against each other"
    wanted = word_diff(reference, tuned) if reference and tuned else None
    if wanted is None:
        return _Marked([], [], [], f"{apart}." if base and tuned else "")
    return _Marked([], wanted[1], wanted[0], f"{apart}: the second is marked against the reference answer.")


def _side(
    system: str, answer: Json, pieces: list[Piece], metrics: dict[str, Json], titles: dict[str, str]
) -> Side:
    output, left_out = shortened(answer["output"], ANSWER_LIMIT)
    details = answer.get("details") or {}
    marks = []
    for name, metric in metrics.items():
        value = answer["scores"].get(name)
        if value is not None:
            reasons = [reason_named(reason, titles) for reason in details.get(name) or []]
            marks.append(_mark(metric, value, reasons))
    cut = count(left_out) if left_out else ""
    return Side(system, output, pieces, cut, answer.get("invalid") or "", marks)


def _mark(metric: Json, value: float, reasons: list[str]) -> Mark:
    unit = unit_of(metric)
    if unit != "rate":
        return Mark(metric["label"], quantity(value, unit), None, reasons)
    good = (value == 1) == metric["higher_is_better"]
    return Mark(metric["label"], "pass" if good else "fail", good, reasons)


def reason_named(reason: str, titles: dict[str, str]) -> str:
    """A rule's code with what it stands for, or a reason in words, cut where it is long."""
    named = f"{reason}: {titles[reason]}" if reason in titles else reason
    return shortened(named, 200)[0]
