"""The two-sided safety plot: faults against over-caution, one point a system, with both intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kit.report import svg
from kit.report.formatting import shortened
from kit.report.plots import WIDE, Point, Range

_DOT = 5.0
_GAP = 10.0
"""Between an arrow's end and the middle of a dot."""
_HEAD = 8.0
_LINE = 16.0

Marks = Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Spot:
    """A system's place: the fault rate across, the over-caution rate upwards, as shares."""

    across: Range
    upwards: Range


@dataclass(frozen=True)
class _Frame:
    """Where the axes lie, in pixels, and the shares at their ends."""

    left: float
    right: float
    top: float
    bottom: float
    across: float
    upwards: float

    def place(self, x: float, y: float) -> Point:
        return (
            self.left + (self.right - self.left) * x / self.across,
            self.bottom - (self.bottom - self.top) * y / self.upwards,
        )


def safety_plot(
    base: Spot,
    tuned: Spot,
    margin: float,
    names: tuple[str, str],
    title: str,
    description: str,
    width: float = WIDE,
    systems: tuple[str, str] = ("base", "tuned"),
) -> str:
    """Both systems as points with the intervals of both rates, and an arrow from base to tuned.

    The region of a win is drawn: fewer faults than base, and at most `margin` more over-caution. Both axes
    start at zero, and end where all intervals and the region have room.

    Args:
        margin: the rise that is allowed of the rate drawn upwards, as a share.
        names: what is measured across, and upwards.
        title: the plot's message, read out by screen readers.
        description: where the points lie, for those who cannot see them.
        width: in CSS pixels.
        systems: what the two points are called.
    """
    edge = base.upwards.value + margin
    across = _marks(max(base.across.high, tuned.across.high))
    upwards = _marks(max(base.upwards.high, tuned.upwards.high, edge))
    frame = _Frame(50.0, width - 16.0, 40.0, 330.0, across[-1][0], upwards[-1][0])
    start, end = (frame.place(spot.across.value, spot.upwards.value) for spot in (base, tuned))
    shapes = [
        _region(frame, base.across.value, edge),
        *_axes(frame, across, upwards, names),
        *_spot(frame, "base", base),
        *_spot(frame, "tuned", tuned),
        *_arrow(start, end),
        *_labels(frame, base, tuned, systems),
    ]
    return svg.drawing(shapes, width, frame.bottom + 50, title, description)


def _marks(highest: float) -> list[tuple[float, str]]:
    """Round marks from zero to at least `highest`, as shares, written in per cent."""
    marks = svg.ticks(0.0, max(highest, 0.01) * 100, "%")
    return [(value / 100, words) for value, words in marks]


def _region(frame: _Frame, across: float, upwards: float) -> str:
    """The rectangle in which tuned would have fewer faults and no more caution than is allowed."""
    x, y = frame.place(across, upwards)
    shape = (
        f'<rect class="region" x="{frame.left:.1f}" y="{y:.1f}" '
        f'width="{x - frame.left:.1f}" height="{frame.bottom - y:.1f}"/>'
    )
    words = "a win lies in here" if x - frame.left > 130 else ""
    return shape + svg.text(frame.left + 8, y + 16, words, "region-label")


def _axes(frame: _Frame, across: Marks, upwards: Marks, names: tuple[str, str]) -> list[str]:
    shapes = []
    for value, words in across:
        x, _ = frame.place(value, 0.0)
        shapes.append(svg.line(x, frame.top, x, frame.bottom, "grid"))
        shapes.append(svg.text(x, frame.bottom + 18, words, "tick", svg.anchor(value, across)))
    for value, words in upwards:
        _, y = frame.place(0.0, value)
        shapes.append(svg.line(frame.left, y, frame.right, y, "grid"))
        shapes.append(svg.text(frame.left - 8, y + 4, words, "tick", "end"))
    shapes.append(svg.text(0, 16, f"{svg.fit(names[1], 26)} ↑", "label"))
    return [*shapes, svg.text(frame.right, frame.bottom + 42, f"{svg.fit(names[0], 26)} →", "label", "end")]


def _spot(frame: _Frame, system: str, spot: Spot) -> list[str]:
    """A point with a whisker for each of its two intervals."""
    x, y = frame.place(spot.across.value, spot.upwards.value)
    left, right = (frame.place(bound, 0.0)[0] for bound in (spot.across.low, spot.across.high))
    low, high = (frame.place(0.0, bound)[1] for bound in (spot.upwards.low, spot.upwards.high))
    return [
        svg.line(left, y, right, y, f"whisker {system}"),
        svg.line(x, low, x, high, f"whisker {system}"),
        f'<circle class="dot {system}" cx="{x:.1f}" cy="{y:.1f}" r="{_DOT}"/>',
    ]


def _arrow(start: Point, end: Point) -> list[str]:
    """From dot to dot; none where they nearly touch."""
    length = math.dist(start, end)
    if length < 2 * _GAP + _HEAD:
        return []
    along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)

    def at(distance: float, aside: float = 0.0) -> Point:
        """A point so far from the start, and so far to the side of the way."""
        return (
            start[0] + along[0] * distance - along[1] * aside,
            start[1] + along[1] * distance + along[0] * aside,
        )

    tip, back = at(length - _GAP), length - _GAP - _HEAD
    corners = (tip, at(back, _HEAD / 2), at(back, -_HEAD / 2))
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return [
        svg.line(*at(_GAP), *at(back), "arrow"),
        f'<polygon class="arrow-head" points="{points}"/>',
    ]


def _labels(frame: _Frame, base: Spot, tuned: Spot, systems: tuple[str, str]) -> list[str]:
    """The systems' names at the upper ends of their upright whiskers, on the side with more room.

    Where both would meet, the second stands at the lower end of its own.
    """
    shapes: list[str] = []
    taken: Point | None = None
    for system, called, spot in zip(("base", "tuned"), systems, (base, tuned), strict=True):
        x, top = frame.place(spot.across.value, spot.upwards.high)
        _, low = frame.place(spot.across.value, spot.upwards.low)
        y = max(top + 4, frame.top + 10)
        if taken and abs(taken[0] - x) < 60 and abs(taken[1] - y) < _LINE:
            y = min(low, frame.bottom - 4) if abs(min(low, frame.bottom - 4) - y) >= _LINE else y + _LINE
        taken = (x, y)
        beside = x < (frame.left + frame.right) / 2
        anchor = "start" if beside else "end"
        shapes.append(
            svg.text(x + 9 if beside else x - 9, y, shortened(called, 24)[0], f"name {system}", anchor)
        )
    return shapes
