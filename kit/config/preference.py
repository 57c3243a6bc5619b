"""Settings of `train.preference` that the stage, or each other, make senseless."""

from collections.abc import Iterator
from typing import get_args

from kit.config.explain import Finding
from kit.config.schema_train import Preference, PreferenceLoss, Stage, Train
from kit.config.tree import Tree, mapping_at, section_at
from kit.config.yaml_lines import Key

_OF_LABELS = ("kto", "apo_zero_unpaired")
LOSSES: dict[str, tuple[str, ...]] = {
    "dpo": tuple(loss for loss in get_args(PreferenceLoss) if loss not in (*_OF_LABELS, "orpo")),
    "kto": _OF_LABELS,
    "orpo": ("orpo",),
}
"""Stage -> the losses it knows, its own first."""
SMOOTHED = ("robust", "exo_pair", "aot", "aot_unpaired")
"""Losses that use `label_smoothing`."""
REFERENCE_FREE = ("simpo", "orpo")
"""Losses that ask for no reference model."""


def losses_of(stage: str, preference: Preference) -> list[str]:
    """The losses that a preference stage takes: those chosen, else its own."""
    return list(preference.loss_type) or [LOSSES[stage][0]]


def beta_of(stage: str, preference: Preference) -> float:
    """The chosen beta, else the usual one: that of TRL, and for SimPO that of its paper."""
    if preference.beta is not None:
        return preference.beta
    return 2.0 if losses_of(stage, preference) == ["simpo"] else 0.1


def check_preference(tree: Tree) -> list[Finding]:
    """Every setting of the merged tree that says nothing, or the wrong thing, for its stage.

    Args:
        tree: all layers, merged. What the schema refuses is not looked at.
    """
    train, method = mapping_at(tree, "train"), mapping_at(tree, "method")
    stage, preference = train.get("stage", Train().stage), section_at(train, "preference", Preference)
    if stage not in get_args(Stage) or preference is None:
        return []
    if stage not in LOSSES:
        unused = [
            _finding(
                name,
                f"is set, and train.stage is {stage}, which takes none of these",
                f"set train.stage to {' or '.join(LOSSES)}, or take it out",
            )
            for name in mapping_at(train, "preference")
            if getattr(preference, name) != getattr(Preference(), name)
        ]
        compares = [*_packing(stage, train), *_dropout(stage, method)]
        return [*unused, *compares] if stage == "reward" else unused
    found = [*_losses(stage, preference), *_weights(stage, preference)]
    found += _batch(stage, preference, train)
    return [*found, *_dropout(stage, method)]


def _losses(stage: str, preference: Preference) -> Iterator[Finding]:
    losses = losses_of(stage, preference)
    known = LOSSES[stage]
    for loss in losses:
        if loss not in known:
            yield _finding("loss_type", f"{loss!r} is no loss of {stage}", f"allowed: {', '.join(known)}")
    if len(set(losses)) < len(losses):
        yield _finding("loss_type", "names a loss twice", "name it once, and weigh it by loss_weights")
    if "simpo" in losses and len(losses) > 1:
        message = "`simpo` asks for no reference, the others do: they cannot be summed"
        yield _finding("loss_type", message, "keep `simpo` alone, or leave it out")
    if stage == "kto" and len(losses) > 1:
        yield _finding("loss_type", "kto takes one loss", f"keep one of {', '.join(known)}")
    if stage != "dpo" and preference.loss_weights:
        yield _finding("loss_weights", f"is for several losses, and {stage} takes one", "take it out")
    elif preference.loss_weights and len(preference.loss_weights) != len(losses):
        count = f"{len(preference.loss_weights)} weights for {len(losses)} losses"
        yield _finding("loss_weights", f"has {count}", "give one for each of loss_type, in its order")
    if preference.label_smoothing and not set(losses) & set(SMOOTHED):
        message = f"no loss of {', '.join(losses)} uses it"
        yield _finding("label_smoothing", message, f"choose one of {', '.join(SMOOTHED)}, or set it to 0")
    if "exo_pair" in losses and not preference.label_smoothing:
        message = "the loss `exo_pair` needs a value above 0"
        yield _finding("label_smoothing", message, "its authors use 0.001 (Ji et al. 2024)")


def _weights(stage: str, preference: Preference) -> Iterator[Finding]:
    for name in ("desirable_weight", "undesirable_weight"):
        if stage != "kto" and getattr(preference, name) != 1:
            yield _finding(name, f"is for kto, and train.stage is {stage}", "take it out")
    gamma = preference.simpo_gamma != Preference().simpo_gamma
    if gamma and losses_of(stage, preference) != ["simpo"]:
        yield _finding("simpo_gamma", "is for the loss `simpo`, which is not chosen", "take it out")


def _packing(stage: str, train: Tree) -> Iterator[Finding]:
    if train.get("packing") is True:
        yield Finding(
            ("train", "packing"),
            f"`train.packing` joins dialogues, and {stage} compares answers one by one",
            "set it to false: sft and pretrain pack; here rows of like length share a batch",
            needs_rest=True,
        )


def _batch(stage: str, preference: Preference, train: Tree) -> Iterator[Finding]:
    yield from _packing(stage, train)
    if stage != "kto" or losses_of(stage, preference) != ["kto"]:
        return
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size"):
        if train.get(name, getattr(Train(), name)) == 1:
            yield Finding(
                ("train", name),
                f"`train.{name}` is 1: the loss `kto` measures how far the model has gone by pairing each "
                "prompt with another row's answer of the same batch",
                "set it to 2 or more, or train.preference.loss_type to [apo_zero_unpaired]",
                needs_rest=True,
            )


def _dropout(stage: str, method: Tree) -> Iterator[Finding]:
    if isinstance(method.get("dropout"), float | int) and method["dropout"]:
        yield Finding(
            ("method", "dropout"),
            f"`method.dropout` is {method['dropout']}: {stage} compares probabilities, and dropout would "
            "blur both sides",
            "set it to 0",
            needs_rest=True,
        )


def _finding(name: str, message: str, hint: str) -> Finding:
    key: Key = ("train", "preference", name)
    return Finding(key, f"`train.preference.{name}`: {message}", hint, needs_rest=True)
