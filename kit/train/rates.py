"""Usual learning rates by stage and method, with where they are from, and advice outside of them."""

from dataclasses import dataclass

from kit.config.methods import LORA, WHOLE
from kit.config.preference import LOSSES
from kit.config.schema import Config


@dataclass(frozen=True)
class Band:
    """Usual rates from `low` to `high`, of the optimiser AdamW, and what says so."""

    low: float
    high: float
    source: str


_PEFT = "PEFT's comparison of methods on MetaMathQA"
_OF_LORA = Band(3e-5, 1e-4, "practice with models of billions of parameters")
_WHOLE = Band(6e-6, 2e-5, f"a fifth of LoRA's; {_PEFT} takes 1e-5")
SFT_BANDS: dict[str, Band] = {
    **dict.fromkeys(LORA, _OF_LORA),
    **dict.fromkeys(WHOLE, _WHOLE),
    "oft": Band(3e-5, 1e-4, f"as LoRA: {_PEFT} takes 1e-4 for both"),
    "prefix": Band(1e-3, 1e-2, f"without a network behind the prefix: {_PEFT} takes 1e-3 and 5e-3"),
    "prompt": Band(1e-3, 3e-1, f"{_PEFT} takes 1e-3, Lester et al. 2021 0.3 (with Adafactor)"),
    "adapter": Band(1e-4, 1e-3, "AdapterHub's published ones take 1e-4, Hu et al. 2023 (LLM-Adapters) 3e-4"),
    "ia3": Band(1e-3, 1e-2, f"Liu et al. 2022 take 3e-3 (with Adafactor), {_PEFT} 5e-3"),
}
"""For learning dialogues, by method."""
PREFERENCE_BANDS: dict[str, Band] = {
    **dict.fromkeys(LORA, Band(5e-6, 5e-5, "ten times the rates of full")),
    **dict.fromkeys(WHOLE, Band(5e-7, 5e-6, "Zephyr (Tunstall et al. 2023) 5e-7, DPO's paper 1e-6")),
}
"""For learning from preferences and rewards; of the other methods no published rates are known to us."""
NEWER_LORA = 5e-4
"""Newer work trains LoRA faster than the rule: QLoRA's paper with 2e-4, Schulman et al. 2025 (LoRA Without
Regret) with about ten times the rate of full."""


SMALL = 100_000_000
"""Parameters of a model that the bands say nothing of: tiny, with two million, learns best at seventy times
the rate that is usual for LoRA."""


def rate_advice(config: Config, parameters: int) -> str | None:
    """Advice where the learning rate lies outside the usual band of its method; None inside it.

    The bands are for models of billions of parameters. Small models want more, so this is advice and never an
    error, and none for those under `SMALL`, whatever they are called.

    Args:
        parameters: those of the model.
    """
    stage, method, rate = config.train.stage, config.method.name, config.train.learning_rate
    if stage == "pretrain" or parameters < SMALL:
        return None
    slow = stage in (*LOSSES, "grpo")
    band = (PREFERENCE_BANDS if slow else SFT_BANDS).get(method)
    if band is None or band.low <= rate <= band.high:
        return None
    side = "below" if rate < band.low else "above"
    what = f"{stage} by {method}" if slow else method
    advice = f"learning rate {rate:g} is {side} the usual {band.low:g} to {band.high:g} for {what}"
    if band is _OF_LORA and band.high < rate <= NEWER_LORA:
        return f"{advice}; newer work goes up to {NEWER_LORA:g}, or ten times the rate of full"
    return f"{advice} ({band.source})"
