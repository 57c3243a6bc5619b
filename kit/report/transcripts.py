"""Which answers to read first: the prompts that lost most by tuning, then those that gained most.

Rates decide, because they say right or wrong; a case without rates falls back on its other scores.
Times never decide. An item's change is the sum over metrics of tuned minus base, signed so that a
loss is negative; losses and gains are summed apart, so that a gain on one metric hides no loss.
"""

from dataclasses import dataclass

from kit.report.formatting import quantity, shortened, visible
from kit.report.read import Json
from kit.report.scores import unit_of
from kit.report.view import Mark, Side, Transcript, Transcripts

REGRESSIONS_SHOWN = 20
GAINS_SHOWN = 10
ANSWER_LIMIT = 2_000
"""Characters of a prompt or answer that are shown; the rest stands in `predictions.jsonl`."""


@dataclass(frozen=True)
class _Change:
    """How one item moved."""

    item: Json
    lost: float
    gained: float
    moved: list[str]


def pick_transcripts(scores: Json) -> Transcripts:
    """The worst regressions and best gains under greedy decoding, and how many there are of each."""
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
        regressions=[_transcript(c, "regression", metrics) for c in regressions[:REGRESSIONS_SHOWN]],
        regressions_total=len(regressions),
        gains=[_transcript(c, "gain", metrics) for c in gains[:GAINS_SHOWN]],
        gains_total=len(gains),
        prompts=len(changes),
    )


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


def _transcript(change: _Change, kind: str, metrics: dict[str, Json]) -> Transcript:
    item = change.item
    prompt, _ = shortened(visible(item["prompt"]), ANSWER_LIMIT)
    reference, _ = shortened(visible(item["answer"]), ANSWER_LIMIT)
    return Transcript(
        id=item["id"],
        kind="regression" if kind == "regression" else "gain",
        prompt=prompt,
        reference=reference,
        slices=[f"{column}: {visible(str(value))}" for column, value in item.get("slices", {}).items()],
        changed="; ".join(change.moved),
        base=_side("base", item["greedy"]["base"], metrics),
        tuned=_side("tuned", item["greedy"]["tuned"], metrics),
    )


def _side(system: str, answer: Json, metrics: dict[str, Json]) -> Side:
    output, left_out = shortened(visible(answer["output"]), ANSWER_LIMIT)
    details = answer.get("details") or {}
    marks = [
        _mark(metric, answer["scores"].get(name), details.get(name) or [])
        for name, metric in metrics.items()
        if answer["scores"].get(name) is not None
    ]
    return Side(system, output, left_out, answer.get("invalid") or "", marks)


def _mark(metric: Json, value: float, reasons: list[str]) -> Mark:
    unit = unit_of(metric)
    shown = [visible(shortened(reason, 200)[0]) for reason in reasons]
    if unit != "rate":
        return Mark(metric["label"], quantity(value, unit), None, shown)
    good = (value == 1) == metric["higher_is_better"]
    return Mark(metric["label"], "pass" if good else "fail", good, shown)
