"""Plots as inline SVG: text and shapes with classes, coloured by the page so that dark mode works.

Every plot takes its width and lays itself out for it (labels beside the marks on a wide page, above
them on a phone), carries its message as an accessible name, and stands beside a table of its numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.report import svg
from kit.report.formatting import number
from kit.report.view_evidence import Figure

WIDE = 760
NARROW = 340
_LABELS_BESIDE = 560
"""From this width on labels stand left of the marks."""

_APART = 0.04
"""How far intervals of both systems at the same place stand from it, so that neither hides the other."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Range:
    """An estimate with its bounds (or a median with its 95th percentile), in the plot's unit."""

    value: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Row:
    """A line of a dot plot: one thing measured on both systems."""

    label: str
    note: str
    base: Range | None
    tuned: Range | None
    faint: bool = False
    """Drawn lightly: shown, but too few prompts to test."""


def figure(draw: Callable[[float], str]) -> Figure:
    """The plot drawn for a wide page and for a phone."""
    return Figure(wide=draw(WIDE), narrow=draw(NARROW))


def interval_plot(rows: Sequence[Row], title: str, width: float = WIDE) -> str:
    """Estimates with their intervals on a common 0–100% axis, base above tuned in every row.

    Args:
        rows: values as shares from 0 to 1.
        title: the plot's message, read out by screen readers.
        width: in CSS pixels; the height follows from the number of rows.
    """
    ticks = [(share / 100, f"{share}%") for share in (0, 25, 50, 75, 100)]
    return _dot_plot(rows, ticks, title, width)


def slice_plot(rows: Sequence[Row], title: str, width: float = WIDE) -> str:
    """One metric on every slice; like `interval_plot`, with untested slices drawn lightly."""
    return interval_plot(rows, title, width)


def latency_plot(rows: Sequence[Row], title: str, width: float = WIDE) -> str:
    """Median (dot) to 95th percentile (end of the line) in seconds, on an axis that starts at zero."""
    longest = max((r.high for row in rows for r in (row.base, row.tuned) if r), default=1.0)
    return _dot_plot(rows, svg.ticks(0.0, longest, "s"), title, width)


def loss_curve(
    train: Sequence[Point],
    evaluation: Sequence[Point],
    golden_step: int | None,
    title: str,
    spikes: Sequence[Point] = (),
    width: float = WIDE,
) -> str:
    """Training and validation loss by step, the golden checkpoint's step marked.

    Args:
        train: (step, loss) of every logged step.
        evaluation: (step, loss) of every validation.
        golden_step: marked with a line, unless None.
        spikes: points of `train` that are marked as such.
    """
    lines = [("base", "training", train), ("tuned", "validation", evaluation)]
    return _line_plot(lines, golden_step, title, width, spikes=spikes)


def score_curve(
    scores: Sequence[Point], golden_step: int | None, title: str, is_rate: bool, width: float = WIDE
) -> str:
    """The validation task score by step, by which the golden checkpoint is chosen; rates in per cent."""
    scale = 100 if is_rate else 1
    scaled = [(step, score * scale) for step, score in scores]
    return _line_plot([("tuned", "", scaled)], golden_step, title, width, "%" if is_rate else "")


def coverage_curve(base: Sequence[Point], tuned: Sequence[Point], title: str, width: float = WIDE) -> str:
    """Accuracy by the share of answers that are given, the most confident first; points are shares."""
    lines = [
        (system, system, [(share * 100, right * 100) for share, right in points])
        for system, points in (("base", base), ("tuned", tuned))
    ]
    return _line_plot(lines, None, title, width, "%", x_ends=("none answered", "all answered"))


def worst_curve(at: Sequence[Mapping[str, Any]], title: str, is_rate: bool, width: float = WIDE) -> str:
    """The expected worst of k answers by k, with intervals; rates in per cent.

    Args:
        at: for k = 1, 2, …: `base` and `tuned`, each with `estimate`, `low` and `high`.
    """
    scale = 100 if is_rate else 1
    lines = [
        (system, "", [(float(k), one[system]["estimate"] * scale) for k, one in enumerate(at)])
        for system in ("base", "tuned")
    ]
    spans = [
        (system, k + shift, one[system]["low"] * scale, one[system]["high"] * scale)
        for system, shift in (("base", -_APART), ("tuned", _APART))
        for k, one in enumerate(at)
    ]
    ends = ("one answer", f"worst of {len(at)}")
    return _line_plot(lines, None, title, width, "%" if is_rate else "", x_ends=ends, spans=spans)


def _dot_plot(rows: Sequence[Row], ticks: list[tuple[float, str]], title: str, width: float) -> str:
    beside = width >= _LABELS_BESIDE
    left, right = (210.0, width - 76.0) if beside else (8.0, width - 62.0)
    top, row_height = 30.0, 48.0 if beside else 66.0
    bottom = top + row_height * len(rows)
    last = ticks[-1][0] or 1.0

    def x(value: float) -> float:
        return left + (right - left) * min(max(value / last, 0.0), 1.0)

    shapes = []
    for value, text in ticks:
        shapes.append(svg.text(x(value), top - 14, text, "tick", svg.anchor(value, ticks)))
        if beside:
            shapes.append(svg.line(x(value), top - 8, x(value), bottom, "grid"))
    for index, row in enumerate(rows):
        y = top + row_height * index
        if not beside:  # so that no line crosses the label above the marks
            shapes += [svg.line(x(value), y + 24, x(value), y + row_height - 8, "grid") for value, _ in ticks]
        shapes.append(_row(row, y, x, left, width, beside))
        if index:
            shapes.append(svg.line(0, y, width, y, "rule"))
    return svg.drawing(shapes, width, bottom + 8, title)


def _row(row: Row, y: float, x: Callable[[float], float], left: float, width: float, beside: bool) -> str:
    """The labels, both whiskers and both figures of one row whose upper edge is `y`."""
    shapes = []
    if beside:
        shapes.append(svg.text(0, y + (22 if row.note else 29), svg.fit(row.label, 30), "label"))
        shapes.append(svg.text(0, y + 37, row.note, "note"))
        first = y + 17
    else:
        shapes.append(svg.text(0, y + 16, svg.fit(row.label, 34), "label"))
        shapes.append(svg.text(width, y + 16, row.note, "note", "end"))
        first = y + 33
    for system, measured, line in (("base", row.base, first), ("tuned", row.tuned, first + 16)):
        if measured is None:
            continue
        kind = f"{system} faint" if row.faint else system
        shapes.append(svg.line(x(measured.low), line, x(measured.high), line, f"whisker {kind}"))
        shapes.append(f'<circle class="dot {kind}" cx="{x(measured.value):.1f}" cy="{line:.1f}" r="4.5"/>')
        shapes.append(svg.text(width, line + 4, measured.text, f"figure {kind}", "end"))
    return f'<g class="row">{"".join(shapes)}</g>'


def _line_plot(
    lines: Sequence[tuple[str, str, Sequence[Point]]],
    golden_step: int | None,
    title: str,
    width: float,
    unit: str = "",
    spikes: Sequence[Point] = (),
    x_ends: tuple[str, str] | None = None,
    spans: Sequence[tuple[str, float, float, float]] = (),
) -> str:
    beside = width >= _LABELS_BESIDE
    named = beside and any(name for _, name, _ in lines)
    left, right, top, bottom = 44.0, width - (84.0 if named else 8.0), 26.0, 226.0
    points = [point for _, _, series in lines for point in series]
    steps = [step for step, _ in points]
    values = [value for _, value in points] + [end for *_, low, high in spans for end in (low, high)]
    ticks = svg.ticks(min(values), max(values), unit)
    low, high = ticks[0][0], ticks[-1][0]
    first, last = min(0.0, *steps), max(*steps, 1.0)

    def place(point: Point) -> Point:
        step, value = point
        return (
            left + (right - left) * (step - first) / (last - first),
            bottom - (bottom - top) * (value - low) / (high - low or 1.0),
        )

    shapes = []
    for value, text in ticks:
        _, y = place((first, value))
        shapes += [svg.line(left, y, right, y, "grid"), svg.text(left - 8, y + 4, text, "tick", "end")]
    shapes += [
        svg.text(left, bottom + 20, x_ends[0] if x_ends else "step 0", "tick"),
        svg.text(right, bottom + 20, x_ends[1] if x_ends else number(last, 0), "tick", "end"),
    ]
    if golden_step is not None:
        shapes += _golden(place((golden_step, low))[0], top, bottom, golden_step, (left + right) / 2)
    for kind, step, least, most in spans:
        (x, y1), (_, y2) = place((step, least)), place((step, most))
        shapes.append(svg.line(x, y1, x, y2, f"whisker {kind}"))
    ends = _spread([place(series[-1])[1] for _, _, series in lines if series])
    for (kind, name, series), end in zip([line for line in lines if line[2]], ends, strict=True):
        shapes.append(_series(kind, [place(point) for point in series], dotted=bool(spans)))
        if named:
            shapes.append(svg.text(right + 10, end + 4, name, f"name {kind}"))
    shapes += [_spike(*place(point)) for point in spikes]
    return svg.drawing(shapes, width, bottom + 28, title)


def _series(kind: str, points: Sequence[Point], dotted: bool = False) -> str:
    """A line; with dots where points are few, so that a single one is seen at all.

    Args:
        dotted: in any case, so that the systems differ by more than their colour.
    """
    with_dots = dotted or kind == "tuned" or len(points) == 1
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dots = "".join(f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points)
    return f'<path class="line {kind}" d="{path}"/>{dots if with_dots else ""}'


def _spike(x: float, y: float) -> str:
    """A triangle that points down at where a curve rose."""
    corners = ((x, y - 4), (x - 4, y - 11), (x + 4, y - 11))
    points = " ".join(f"{across:.1f},{down:.1f}" for across, down in corners)
    return f'<polygon class="spike" points="{points}"/>'


def _golden(x: float, top: float, bottom: float, step: int, middle: float) -> list[str]:
    anchor, shift = ("end", -6.0) if x > middle else ("start", 6.0)
    return [
        svg.line(x, top - 14, x, bottom, "golden"),
        svg.text(x + shift, top - 6, f"golden checkpoint, step {number(step, 0)}", "golden-label", anchor),
    ]


def _spread(positions: list[float], gap: float = 16.0) -> list[float]:
    """Label positions moved apart so that two lines that end close together stay readable."""
    if len(positions) != 2 or abs(positions[0] - positions[1]) >= gap:
        return positions
    middle = sum(positions) / 2
    above, below = middle - gap / 2, middle + gap / 2
    return [above, below] if positions[0] <= positions[1] else [below, above]
