"""Learning from preferences: TRL's `DPOTrainer` and `KTOTrainer` on rows that are already tokens.

The reference that both measure against is the model as it was before: the base with its adapter switched
off, or for `full` a frozen copy.

Only `kit.train.setup` imports this module: it loads torch, transformers and TRL.
"""

from copy import deepcopy
from typing import Any

from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from kit.config.preference import losses_of
from kit.config.schema import Config
from kit.train.trainer import RunTrainer


class PairTrainer(RunTrainer, DPOTrainer):  # type: ignore[misc]
    """Trains on pairs: columns `prompt_ids`, `chosen_ids` and `rejected_ids`."""

    def __init__(self, *args: Any, model: Any, **kwargs: Any) -> None:
        super().__init__(*args, model=model, ref_model=reference_of(model), **kwargs)
        forget_copy(self.model)

    def row_lengths(self) -> list[int]:
        """Tokens of the longer side of every pair."""
        rows = self.train_dataset
        sides = zip(rows["prompt_ids"], rows["chosen_ids"], rows["rejected_ids"], strict=True)
        return [len(prompt) + max(len(chosen), len(rejected)) for prompt, chosen, rejected in sides]

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset  # a second rendering could be another one


class LabelTrainer(RunTrainer, KTOTrainer):  # type: ignore[misc]
    """Trains on labelled answers: columns `prompt_ids`, `completion_ids` and `label`."""

    def __init__(self, *args: Any, model: Any, **kwargs: Any) -> None:
        super().__init__(*args, model=model, ref_model=reference_of(model), **kwargs)
        forget_copy(self.model)

    def row_lengths(self) -> list[int]:
        """Tokens of every answer with its prompt."""
        rows = self.train_dataset
        return [
            len(prompt) + len(answer)
            for prompt, answer in zip(rows["prompt_ids"], rows["completion_ids"], strict=True)
        ]

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["prompt_ids", "completion_ids", "label"]


class MismatchedAnswers(DataCollatorForUnpairedPreference):  # type: ignore[misc]
    """A batch for kto, in which every prompt also has another row's answer.

    From those the loss estimates how far the model is from the reference (Ethayarajh et al. 2024, section
    4.1). TRL pairs them once, in the order of the rows, and so cannot mix rows; here they are paired when
    the batch is made. Nothing is learned from them, so those that are too long with their prompt are cut.
    """

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Pad the examples; `KL_completion_ids` is the answer of the row before, of the first the last's."""
        paired = [
            {**example, "KL_completion_ids": examples[number - 1]["completion_ids"]}
            for number, example in enumerate(examples)
        ]
        batch: dict[str, Any] = super().torch_call(paired)
        return batch


def batches_of_labels(config: Config, tokenizer: Any) -> MismatchedAnswers | None:
    """How rows become batches; None, TRL's own way, for the loss that asks for no mismatched answers."""
    if losses_of("kto", config.train.preference) != ["kto"]:
        return None
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return MismatchedAnswers(pad_token_id=padding, max_length=config.model.max_length)


def reference_of(model: Any) -> Any:
    """A frozen copy of a model that is trained in full; None where the adapter can be switched off."""
    if hasattr(model, "peft_config"):
        return None
    return deepcopy(model).eval().requires_grad_(False)


def forget_copy(model: Any) -> None:
    """Take out the copy that TRL makes of an adapter to refer to: a fresh one adds nothing to its base, so
    that the base alone is the same reference, without being saved in every checkpoint.
    """
    if "ref" in getattr(model, "peft_config", {}):
        model.delete_adapter("ref")


def preference_arguments(config: Config) -> tuple[type[DPOConfig | KTOConfig], dict[str, Any]]:
    """Our settings in TRL's words: the kind of arguments, and those that other stages have not."""
    settings = config.train.preference
    losses = losses_of(config.train.stage, settings)
    if config.train.stage == "kto":
        return KTOConfig, {
            "beta": settings.beta,
            "loss_type": losses[0],
            "desirable_weight": settings.desirable_weight,
            "undesirable_weight": settings.undesirable_weight,
        }
    return DPOConfig, {
        "beta": settings.beta,
        "loss_type": losses,
        "loss_weights": settings.loss_weights or None,
        "label_smoothing": settings.label_smoothing,
    }
