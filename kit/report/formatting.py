"""How numbers are written, in one place, so that all faces of a report print the same digits.

Rates are shares (0.52) and read 52.0%; differences of rates read in percentage points. Typographic
minus signs are used throughout; a number that does not exist reads as an en dash.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["rate", "score", "seconds", "factor"]

NONE = "–"
MINUS = "−"
JOIN = "\u00a0"
"""Between a number and its unit: a space that no line break may fall on."""


def number(value: float | None, digits: int = 1) -> str:
    """`value` with a fixed number of decimals, thousands separated: -1234.5 -> −1,234.5."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    return text.replace("-", MINUS)


def count(value: int | None) -> str:
    """A whole number with thousands separated: 20000 -> 20,000."""
    return number(value, 0)


def quantity(value: float | None, unit: Unit) -> str:
    """A value with its unit: 52.0% (rate), 0.842 (score), 1.25 s (seconds), 4.0× (factor)."""
    if value is None or not math.isfinite(value):
        return NONE
    if unit == "rate":
        return f"{number(value * 100)}%"
    if unit == "seconds":
        return f"{number(value, _second_digits(value))}{JOIN}s"
    if unit == "factor":
        return f"{number(value, 2)}×"
    return number(value, 3)


def interval(low: float | None, high: float | None, unit: Unit) -> str:
    """A confidence interval in the unit of its estimate, without repeating it: [45.1, 58.9]."""
    if low is None or high is None:
        return NONE
    digits = _second_digits(max(abs(low), abs(high)))
    return f"[{_bare(low, unit, digits)},{JOIN}{_bare(high, unit, digits)}]"


def estimate(value: dict[str, Any] | None, unit: Unit) -> str:
    """An estimate with its interval, from `{"estimate", "low", "high"}`: 52.0% [45.1, 58.9]."""
    if not value or value.get("estimate") is None:
        return NONE
    text = quantity(value["estimate"], unit)
    if value.get("low") is None or value.get("high") is None:
        return text
    return f"{text} {interval(value['low'], value['high'], unit)}"


def difference(value: float | None, unit: Unit) -> str:
    """A signed difference: −50.0 points for rates, +0.120 for scores, −0.40 s for times."""
    if value is None or not math.isfinite(value):
        return NONE
    if unit == "rate":
        return f"{_signed(number(value * 100))}{JOIN}points"
    return _signed(quantity(value, unit))


@dataclass(frozen=True, kw_only=True)
class BothSystems:
    """The cells of a row that compares two systems; `both_systems` fills them."""

    base: str
    base_interval: str
    tuned: str
    tuned_interval: str
    difference: str
    difference_interval: str


def both_systems(part: Mapping[str, Any], unit: Unit) -> dict[str, str]:
    """The cells of a row that compares two systems, by name, from its `base`, `tuned` and `difference`."""
    base, tuned, change = part["base"], part["tuned"], part["difference"]
    return {
        "base": quantity(base["estimate"], unit),
        "base_interval": interval(base["low"], base["high"], unit),
        "tuned": quantity(tuned["estimate"], unit),
        "tuned_interval": interval(tuned["low"], tuned["high"], unit),
        "difference": difference(change["estimate"], unit),
        "difference_interval": interval(change["low"], change["high"], unit),
    }


def p_value(value: float | None) -> str:
    """A p-value as journals print it: p < .001, p = .012, p > .999."""
    if value is None or not math.isfinite(value):
        return NONE
    if value < 0.001:
        return f"p{JOIN}<{JOIN}.001"
    if value > 0.999:
        return f"p{JOIN}>{JOIN}.999"
    return f"p{JOIN}={JOIN}{value:.3f}".replace("0.", ".", 1)


def duration(seconds: float | None) -> str:
    """A length of time for people: 42 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def signature(value: str | None, digits: int = 12) -> str:
    """The first digits of a hash, enough to compare by eye; `NONE` where there is no hash."""
    return value[:digits] if value else NONE


def plural(amount: int, noun: str) -> str:
    """A count with its noun: 1 prompt, 2,000 prompts."""
    return f"{count(amount)} {noun}" if amount == 1 else f"{count(amount)} {noun}s"


def visible(text: str) -> str:
    """`text` with control characters and bidirectional overrides spelled out, such as ⟦U+202E⟧.

    They can reorder or hide what a reviewer reads; ordinary right-to-left text stays as it is.
    """
    return "".join(f"⟦U+{ord(char):04X}⟧" if _is_deceptive(char) else char for char in text)


def shortened(text: str, limit: int) -> tuple[str, int]:
    """The first `limit` characters of `text`, and how many were left out."""
    return (text, 0) if len(text) <= limit else (text[:limit].rstrip(), len(text) - limit)


def _bare(value: float, unit: Unit, second_digits: int) -> str:
    if unit == "rate":
        return number(value * 100)
    if unit == "seconds":
        return number(value, second_digits)
    return number(value, 2 if unit == "factor" else 3)


def _second_digits(value: float) -> int:
    """Three figures' worth of a time: milliseconds under a second, tenths from ten seconds on."""
    return 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1


def _signed(text: str) -> str:
    is_zero = not any(digit in text for digit in "123456789")
    return text if is_zero or text.startswith(MINUS) else f"+{text}"


def _is_deceptive(char: str) -> bool:
    code = ord(char)
    control = (code < 32 and char not in "\n\t") or 127 <= code < 160
    return control or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or 0xD800 <= code <= 0xDFFF
