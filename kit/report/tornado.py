"""The tornado plot: what each input alone does to a modelled figure, the widest on top."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kit.report import svg
from kit.report.formatting import JOIN, number
from kit.report.plots import WIDE

_LABELS_BESIDE = 560


@dataclass(frozen=True)
class Bar:
    """One input moved from its lowest to its highest value, the others at their best."""

    label: str
    note: str
    """The values it was moved between."""
    at_low: float
    at_high: float
    measured: bool
    """Drawn in the colour of what was measured, not of what was typed."""


def tornado_plot(bars: Sequence[Bar], best: float, title: str, width: float = WIDE) -> str:
    """Bars from the figure at an input's lowest to that at its highest, a line where all are at their best.

    Args:
        bars: shares, in the order in which they are drawn.
        best: the share with every input at its best.
        title: the plot's message, read out by screen readers.
        width: in CSS pixels; the height follows from the number of bars.
    """
    beside = width >= _LABELS_BESIDE
    left, right = (230.0, width - 8.0) if beside else (8.0, width - 8.0)
    top, height = (44.0, 44.0) if beside else (54.0, 60.0)
    ends = [100 * share for bar in bars for share in (bar.at_low, bar.at_high)] + [100 * best]
    marks = svg.ticks(min(ends), max(ends), "%")
    low, high = marks[0][0], marks[-1][0]

    def x(share: float) -> float:
        return left + (right - left) * (100 * share - low) / (high - low)

    bottom = top + height * len(bars)
    shapes = [svg.text(x(v / 100), top - 24, words, "tick", svg.anchor(v, marks)) for v, words in marks]
    shapes += [svg.line(x(v / 100), top - 18, x(v / 100), bottom, "grid") for v, _ in marks]
    for index, bar in enumerate(bars):
        shapes.append(_bar(bar, x, top + height * index, beside))
    shapes.append(svg.line(x(best), top - 12, x(best), bottom, "golden"))
    on_the_right = x(best) > (left + right) / 2
    told = f"all at their best: {number(100 * best)}%".replace(" ", JOIN)
    side = ("end", -6.0) if on_the_right else ("start", 6.0)
    shapes.append(svg.text(x(best) + side[1], top - 4, told, "golden-label", side[0]))
    return svg.drawing(shapes, width, bottom + 8, title)


def _bar(bar: Bar, x: Callable[[float], float], y: float, beside: bool) -> str:
    """Labels and bar of one input whose upper edge is `y`; the end at its lowest value has a dot."""
    line = y + (22 if beside else 44)
    kind = "tuned" if bar.measured else "base"
    shapes = [
        svg.text(0, y + (18 if beside else 16), svg.fit(bar.label, 32), "label"),
        svg.text(0, y + (33 if beside else 31), bar.note, "note"),
        svg.line(x(bar.at_low), line, x(bar.at_high), line, f"swing {kind}"),
        f'<circle class="dot {kind}" cx="{x(bar.at_low):.1f}" cy="{line:.1f}" r="4.5"/>',
    ]
    return f'<g class="row">{"".join(shapes)}</g>'
