"""The page's colours are told apart by everybody: WCAG contrast, computed from the style sheet itself."""

import re
from itertools import product

import pytest

from kit.report.html import TEMPLATES

STYLE = (TEMPLATES / "report.css").read_text("utf-8")

BACKGROUNDS = {
    "paper": {"ink", "quiet", "good", "bad", "unsure", "tuned"},
    "surface": {"ink", "quiet", "good", "bad", "unsure", "tuned", "golden"},
    "sunk": {"ink", "quiet", "tuned", "good", "bad"},
    "good-wash": {"ink", "quiet", "good"},
    "bad-wash": {"ink", "quiet", "bad"},
    "unsure-wash": {"ink", "quiet", "unsure"},
}
"""Every colour that text has, by what lies behind it."""

MARKS = {
    "surface": {"base", "tuned", "golden", "bad", "good", "control", "quiet"},
    "paper": {"tuned", "control"},
    "good-wash": {"base", "tuned", "good", "quiet"},
}
"""Lines, dots, arrows, the edges of controls and the ring of the focus, by what lies behind them."""

NO_TEXT = {"hairline"}
"""Lines that mean nothing by themselves."""


def schemes() -> dict[str, dict[str, str]]:
    """The colours of the light page, of the dark one and of paper."""
    blocks = re.findall(r":root \{([^}]*)\}", STYLE)
    light, dark, paper = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", block)) for block in blocks)
    return {"light": light, "dark": {**light, **dark}, "paper": {**light, **paper}}


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    digits = colour.removeprefix("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio, 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_ratio_is_the_one_of_the_standard() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.478, abs=0.001)


@pytest.mark.parametrize("scheme", ["light", "dark", "paper"])
def test_text_has_a_contrast_of_4_and_a_half_and_marks_of_3(scheme: str) -> None:
    colours = schemes()[scheme]
    for pairs, least in ((BACKGROUNDS, 4.5), (MARKS, 3.0)):
        low = {
            (front, behind): round(contrast(colours[front], colours[behind]), 2)
            for behind, fronts in pairs.items()
            for front in fronts
            if contrast(colours[front], colours[behind]) < least
        }
        assert low == {}


def test_no_colour_of_the_style_is_left_out() -> None:
    fronts = set(re.findall(r"(?<![-\w])(?:color|fill|stroke): var\(--([a-z-]+)\)", STYLE))
    behind = set(re.findall(r"background: var\(--([a-z-]+)\)", STYLE))
    tested = set().union(*BACKGROUNDS.values(), *MARKS.values())
    # The verdict's `tone` and `wash` are the colours of its state.
    assert fronts - {"tone", "wash", "surface", "good-wash"} <= tested | NO_TEXT
    assert behind - {"tone", "wash", "tuned"} <= BACKGROUNDS.keys()
    assert not re.findall(r"(?:color|fill|stroke|background): (?:#|rgb|hsl)", STYLE), "only named colours"


def test_the_verdicts_seal_stands_out_in_every_state() -> None:
    for colours, state in product(schemes().values(), ("good", "bad", "unsure")):
        assert contrast(colours[state], colours[f"{state}-wash"]) >= 4.5


def test_nothing_with_words_is_faded() -> None:
    faded = re.findall(r"([^{}]*)\{[^}]*opacity: \.", STYLE)
    assert [selector.strip() for selector in faded] == [".plot .faint:not(text)"]


def test_marks_of_the_difference_are_told_without_colour() -> None:
    for tag, line in (("del", "line-through"), ("ins", "underline")):
        assert re.search(rf"^{tag} \{{[^}}]*text-decoration: {line}", STYLE, flags=re.MULTILINE)
        assert re.search(rf"\.answer {tag}::before \{{ content: \" \[only", STYLE)
    assert re.search(r"^mark \{[^}]*border-bottom: 2px solid", STYLE, flags=re.MULTILINE)
