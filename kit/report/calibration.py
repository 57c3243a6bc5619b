"""Whether the model knows when it is wrong: accuracy by coverage, and confidence beside accuracy."""

from dataclasses import dataclass
from functools import partial

from kit.report import plots
from kit.report.formatting import NONE, count, interval, plural, quantity
from kit.report.read import Json
from kit.report.view_evidence import Figure

SYSTEMS = ("base", "tuned")
_ROWS = 10
"""Of the curve's table."""


@dataclass(frozen=True)
class CoverageRow:
    """Accuracy where a share of the answers is given, the most confident first."""

    share: str
    base: str
    base_interval: str
    tuned: str
    tuned_interval: str


@dataclass(frozen=True)
class CalibrationCard:
    """Confidence beside one kind of correctness."""

    title: str
    sentence: str
    coverage: list[CoverageRow]
    curve: Figure
    points: list[tuple[str, str, str]]
    """Share answered, accuracy of base and of tuned: the numbers of the curve."""
    bins: list[tuple[str, str, str, str, str]]
    """Bin, then confidence and accuracy of base, confidence and accuracy of tuned."""


def calibration_cards(found: Json) -> list[CalibrationCard]:
    """A card for every correctness that calibration metrics were asked for by."""
    return [_card(block) for block in found.get("calibration") or []]


def _card(block: Json) -> CalibrationCard:
    label = block["label"]
    title = f"Accuracy by the share of answers given, the most confident first: {label}"
    draw = partial(plots.coverage_curve, block["base"]["curve"], block["tuned"]["curve"], title)
    means = [
        f"{system} is sure to {quantity(block[system]['confidence'], 'rate')} and right in "
        f"{quantity(block[system]['accuracy'], 'rate')}"
        for system in SYSTEMS
    ]
    return CalibrationCard(
        title=label,
        sentence=f"Right is what “{label}” says, over {plural(block['n'], 'prompt')} that both "
        f"systems answered. On average {'; '.join(means)}. Confidence is the geometric mean probability of "
        "the answer's tokens.",
        coverage=[
            _coverage(base, tuned)
            for base, tuned in zip(block["base"]["coverage"], block["tuned"]["coverage"], strict=True)
        ],
        curve=plots.figure(draw),
        points=_points(block),
        bins=_bins(block),
    )


def _coverage(base: Json, tuned: Json) -> CoverageRow:
    return CoverageRow(
        share=f"{quantity(base['share'], 'rate')} ({plural(base['n'], 'answer')})",
        base=quantity(base["estimate"], "rate"),
        base_interval=interval(base["low"], base["high"], "rate"),
        tuned=quantity(tuned["estimate"], "rate"),
        tuned_interval=interval(tuned["low"], tuned["high"], "rate"),
    )


def _points(block: Json) -> list[tuple[str, str, str]]:
    """About ten points of the curve, the last among them."""
    curves = list(zip(block["base"]["curve"], block["tuned"]["curve"], strict=True))
    step = max(1, len(curves) // _ROWS)
    kept = curves[::-1][::step][::-1]
    return [(quantity(b[0], "rate"), quantity(b[1], "rate"), quantity(t[1], "rate")) for b, t in kept]


def _bins(block: Json) -> list[tuple[str, str, str, str, str]]:
    rows = []
    pairs = zip(block["base"]["bins"], block["tuned"]["bins"], strict=True)
    for number, (base, tuned) in enumerate(pairs, start=1):
        cells = [quantity(part[key], "rate") for part in (base, tuned) for key in ("confidence", "accuracy")]
        rows.append((f"{count(number)} ({plural(base['n'], 'answer')})", *cells))
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows] or [(NONE,) * 5]
