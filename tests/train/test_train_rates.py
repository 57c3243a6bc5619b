"""Advice on the learning rate: by stage and method, and only outside of what is usual."""

import pytest

from kit.config.methods import method_names
from kit.config.schema import Config
from kit.train.rates import PREFERENCE_BANDS, SFT_BANDS, SMALL, rate_advice


def advice(method: str, rate: float, stage: str = "sft", parameters: int = 8_000_000_000) -> str | None:
    tree = {"method": method, "train": {"stage": stage, "learning_rate": rate}}
    return rate_advice(Config.model_validate(tree), parameters)


@pytest.mark.parametrize(
    ("method", "stage", "low", "high"),
    [
        ("lora", "sft", 3e-5, 1e-4),
        ("qlora", "sft", 3e-5, 1e-4),
        ("full", "sft", 6e-6, 2e-5),
        ("freeze", "sft", 6e-6, 2e-5),
        ("oft", "sft", 3e-5, 1e-4),
        ("prefix", "sft", 1e-3, 1e-2),
        ("prompt", "sft", 1e-3, 0.3),
        ("ia3", "sft", 1e-3, 1e-2),
        ("adapter", "sft", 1e-4, 1e-3),
        ("lora", "dpo", 5e-6, 5e-5),
        ("freeze", "kto", 5e-7, 5e-6),
    ],
)
def test_inside_the_band_nothing_is_said_and_outside_the_band_is_named(method, stage, low, high):
    assert advice(method, low, stage) is None and advice(method, high, stage) is None
    below, above = advice(method, low * 0.9, stage), advice(method, high * 1.1, stage)
    for text, side in ((below, "below"), (above, "above")):
        assert text is not None and f"is {side} the usual {low:g} to {high:g} for " in text
    assert f"({(SFT_BANDS if stage == 'sft' else PREFERENCE_BANDS)[method].source})" in below


def test_newer_rates_of_lora_are_named_where_they_are_reached():
    assert "newer work goes up to 0.0005" in advice("lora", 2e-4)
    assert "newer work" not in advice("lora", 6e-4) and "newer work" not in advice("oft", 2e-4)


def test_every_method_that_trains_has_a_band_and_no_source_no_advice():
    assert set(SFT_BANDS) == set(method_names())
    assert advice("prefix", 1.0, "dpo") is None
    assert advice("lora", 1.0, "pretrain") is None


def test_a_small_model_gets_no_advice_meant_for_billions_of_parameters():
    assert advice("lora", 2e-3, parameters=1_900_000) is None
    assert "is above the usual" in advice("lora", 2e-3, parameters=SMALL)
