"""Shapes of an inline SVG: text and lines with classes, which the page's style colours."""

import math
from collections.abc import Sequence
from html import escape

from kit.report.formatting import JOIN, number, visible


def ticks(low: float, high: float, unit: str) -> list[tuple[float, str]]:
    """Round axis marks that cover low to high: steps of 1, 2 or 5 times a power of ten."""
    span = (high - low) or abs(high) or 1.0
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    digits = max(0, -math.floor(math.log10(step)))
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    stop = max(stop, start + 1)
    suffix = f"{JOIN}{unit}" if unit == "s" else unit
    return [(i * step, number(i * step, digits) + suffix) for i in range(start, stop + 1)]


def anchor(value: float, marks: Sequence[tuple[float, str]]) -> str:
    """How an axis mark's text stands to it, so that the first and the last stay inside the plot."""
    if value == marks[0][0]:
        return "start"
    return "end" if value == marks[-1][0] else "middle"


def fit(label: str, characters: int) -> str:
    """A label on one line."""
    return label if len(label) <= characters else f"{label[: characters - 1]}…"


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line of a class."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    """Escaped text on the baseline `y`; nothing where there are no words."""
    if not words:
        return ""
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(visible(words))}</text>'
    )


def drawing(shapes: Sequence[str], width: float, height: float, title: str, description: str = "") -> str:
    """The whole plot, which screen readers read as one image.

    Args:
        title: its name: the message in a sentence.
        description: what else the eye would see, or where the numbers stand.
    """
    name = escape(visible(title))
    told = escape(visible(description or "The numbers stand in a table below."))
    return (
        f'<svg class="plot" role="img" aria-label="{name}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}"><title>{name}</title><desc>{told}</desc>'
        f"{''.join(shapes)}</svg>"
    )
