"""Numbers and sentences as a reader meets them."""

import pytest

from kit.config.gates import Claim, Gate
from kit.report import formatting, words


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("−", "-")


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.52, "rate", "52.0%"),
        (0.0, "rate", "0.0%"),
        (-0.0001, "rate", "0.0%"),
        (0.8425, "score", "0.843"),
        (1.253, "seconds", "1.25 s"),
        (0.0213, "seconds", "0.021 s"),
        (4.0, "factor", "4.00×"),
        (None, "rate", "–"),
        (float("nan"), "score", "–"),
    ],
)
def test_quantities(value: float | None, unit: formatting.Unit, shown: str) -> None:
    assert plain(formatting.quantity(value, unit)) == shown


def test_intervals_and_differences() -> None:
    assert plain(formatting.interval(0.451, 0.589, "rate")) == "[45.1, 58.9]"
    assert plain(formatting.interval(-0.57, -0.43, "rate")) == "[-57.0, -43.0]"
    assert plain(formatting.difference(-0.5, "rate")) == "-50.0 points"
    assert plain(formatting.difference(0.12, "score")) == "+0.120"
    assert plain(formatting.difference(0.0, "rate")) == "0.0 points"
    assert formatting.interval(None, 1.0, "rate") == "–"


@pytest.mark.parametrize(
    ("p", "shown"), [(0.0, "p < .001"), (0.0009, "p < .001"), (0.0125, "p = .013"), (1.0, "p > .999")]
)
def test_p_values(p: float, shown: str) -> None:
    assert plain(formatting.p_value(p)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(41.7, "42 s"), (59.6, "1 min 00 s"), (3599.7, "1 h 00 min"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert formatting.duration(seconds) == shown


def test_ordinary_right_to_left_text_stays_as_it_is() -> None:
    assert formatting.visible("שלום مرحبا\nline\ttab") == "שלום مرحبا\nline\ttab"
    assert formatting.visible("\u202e\x07") == "⟦U+202E⟧⟦U+0007⟧"


def metric(**changes: object) -> dict[str, object]:
    return {
        "n": 200, "higher_is_better": False, "verdict": "improved", "ratio": None,
        "base": {"estimate": 0.52, "low": 0.45, "high": 0.59},
        "tuned": {"estimate": 0.02, "low": 0.01, "high": 0.05},
        "difference": {"estimate": -0.5, "low": -0.57, "high": -0.43, "p_value": 1e-20},
        "reduction": {"estimate": 0.96, "low": 0.9, "high": 0.98, "at_least": False}, **changes,
    }  # fmt: skip


def test_a_change_is_told_with_counts_interval_and_reduction() -> None:
    assert plain(words.change_sentence(metric(), "rate", 0.95)) == (
        "Fell from 52.0% to 2.0% (104 to 4 of 200 prompts): -50.0 points [-57.0, -43.0], p < .001. "
        "That is 96.0% [90.0, 98.0] fewer."
    )


def test_a_change_that_is_not_shown_is_never_called_one() -> None:
    text = words.change_sentence(metric(verdict="not shown"), "rate", 0.95)
    assert "Fell" not in text and "no change is shown" in text


def test_a_loss_is_called_a_loss() -> None:
    assert words.change_sentence(metric(verdict="worse", higher_is_better=True), "rate", 0.95).endswith(
        "a loss."
    )


def test_so_few_prompts_that_nothing_could_show_are_told_as_too_little_evidence() -> None:
    text = words.change_sentence(metric(n=4, groups=4, verdict="not shown"), "rate", 0.95)
    assert (
        "Not enough evidence: fewer than 6 independent prompts can show no change, and there are 4." in text
    )
    assert "chance" not in text.casefold()


def test_a_reduction_to_zero_says_at_least() -> None:
    reduction = {"estimate": 1.0, "low": 0.93, "high": 1.0, "at_least": True}
    assert words.relative_change(metric(reduction=reduction)) == "at least 93.0% fewer"


def test_a_reduction_that_is_not_shown_is_not_named() -> None:
    reduction = {"estimate": 0.5, "low": -1.73, "high": 0.9, "at_least": False}
    assert words.relative_change(metric(reduction=reduction)) == ""
    assert words.relative_change(metric(verdict="not shown")) == ""


def test_gates_say_what_they_ask_in_the_metrics_unit() -> None:
    gate = Gate(name="g", metric="m", at_most=0.05, bound="upper", decoding="sampled", worst="language")
    assert words.gate_asks(gate, "Violations") == "Violations, tuned, upper bound, sampled, worst language"
    assert words.gate_wanted(gate, "rate", None, 0.95) == "≤ 5.0%"
    gate = Gate(name="g", metric="m", of="ratio", at_least=4)
    assert words.gate_wanted(gate, "seconds", None, 0.95) == "≥ 4.00×"
    gate = Gate(name="g", metric="m", of="difference", at_most=0.05)
    assert plain(words.gate_wanted(gate, "rate", None, 0.95)) == "≤ +5.0 points"
    gate = Gate(name="g", metric="m", significant=True)
    assert plain(words.gate_wanted(gate, "rate", None, 0.95)) == "p < .050"
    gate = Gate(name="g", metric="m", non_inferior={"margin": 0.02})
    assert plain(words.gate_wanted(gate, "rate", metric(), 0.95)) == "< +2.0 points"
    higher = metric(higher_is_better=True)
    assert plain(words.gate_wanted(gate, "rate", higher, 0.95)) == "> -2.0 points"
    assert words.gate_asks(gate, "Accuracy") == "Accuracy, tuned minus base, unfavourable bound"


def test_claims_of_a_reduction_read_as_a_fall() -> None:
    claim = Claim(name="c", metric="m", of="reduction", at_least=0.82)
    assert plain(words.claim_claimed(claim, "rate")) == "-82.0%"
    found = words.claim_found({"estimate": 0.96, "low": 0.9, "high": 0.98, "n": 200}, claim, "rate")
    assert [plain(text) for text in found] == ["-96.0%", "[-98.0, -90.0]"]
    assert words.claim_found(None, claim, "rate") == ("–", "")
