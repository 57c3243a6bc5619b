"""Learning from preferences: TRL's `DPOTrainer` and `KTOTrainer` on rows that are already tokens.

The reference that both measure against is the model as it was before: the base with its adapter switched
off; a frozen copy of the adapter, where it goes on from an earlier stage; for `full` a frozen copy of the
model. ORPO and SimPO ask for none. TRL keeps them in experimental trainers, which render the text themselves
and, for ORPO, learn the prompt as well; so here their losses are ours.

Only `kit.train.setup` imports this module: it loads torch, transformers and TRL.
"""

from copy import deepcopy
from typing import Any

import torch
from torch.nn.functional import logsigmoid
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from kit.config.methods import WHOLE
from kit.config.preference import REFERENCE_FREE, beta_of, losses_of
from kit.config.schema import Config
from kit.data.rows import IGNORED
from kit.train.lean import LeanTrainer
from kit.train.methods import of_reference
from kit.train.processes import world_size
from kit.train.shares import WEIGHTLESS
from kit.train.trainer import RunTrainer


class ComparingTrainer(RunTrainer):
    """A trainer in which every row of the global batch weighs alike, however it is cut into passes.

    TRL means over the rows of a pass and then over passes, so that the rows of a smaller last pass would
    weigh more.
    """

    cuts = True
    loss_is_scaled_for_ga = True

    def count_rows(self, batch: dict[str, Any]) -> int:
        """How many rows a batch holds; see `rows_in`."""
        return rows_in(batch)

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> int:
        rows = torch.tensor(sum(rows_in(one) for one in batch_samples), device=device)
        return int(self.accelerator.reduce(rows)) if world_size() > 1 else int(rows)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean loss of the rows; while training, their share of the global batch's mean."""
        share = rows_in(inputs)
        inputs.pop(WEIGHTLESS, None)
        found = super().compute_loss(model, inputs, return_outputs)
        if num_items_in_batch is None or not self.model.training:
            return found
        share = share / num_items_in_batch * world_size()  # the mean of processes is taken after
        return (found[0] * share, found[1]) if return_outputs else found * share


def rows_in(batch: dict[str, Any]) -> int:
    """How many rows a batch holds that have a weight; a pair is one, and two sequences."""
    if WEIGHTLESS in batch:
        return 0
    return len(batch["input_ids"]) // (1 if "label" in batch else 2)


class PairTrainer(ComparingTrainer, LeanTrainer, DPOTrainer):  # type: ignore[misc]
    """Trains on pairs: columns `prompt_ids`, `chosen_ids` and `rejected_ids`.

    Args:
        continued: whether the model goes on from an earlier stage, so that its adapter is no fresh one.
    """

    def __init__(self, *args: Any, model: Any, continued: bool, **kwargs: Any) -> None:
        super().__init__(*args, model=model, ref_model=self.reference(model), **kwargs)
        settle_copy(self.model, continued)

    def reference(self, model: Any) -> Any:
        """What the model is measured against; see `reference_of`."""
        return reference_of(model)

    def row_lengths(self, rows: Any) -> list[int]:
        """Tokens of the longer side of every pair."""
        sides = zip(rows["prompt_ids"], rows["chosen_ids"], rows["rejected_ids"], strict=True)
        return [len(prompt) + max(len(chosen), len(rejected)) for prompt, chosen, rejected in sides]

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset  # a second rendering could be another one


class FreeTrainer(PairTrainer):
    """Trains on pairs by a loss without a reference.

    Args:
        loss: `orpo` or `simpo`.
        gamma: by how much SimPO wants the chosen answer ahead.
    """

    def __init__(self, *args: Any, loss: str, gamma: float, **kwargs: Any) -> None:
        self.loss, self.gamma = loss, gamma
        super().__init__(*args, **kwargs, continued=False)

    def reference(self, model: Any) -> Any:
        """None; and TRL makes none, for it is told that what a reference would say is there already."""
        return None

    def _precompute_ref_logps(self, dataset: Any, *args: Any) -> Any:
        return dataset

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> torch.Tensor:
        mask = inputs["completion_mask"]
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            labels=inputs["input_ids"].masked_fill(mask == 0, IGNORED),
            use_cache=False,
            fused_lm_head=True,
        )
        each = outputs.log_probs[:, -(mask.size(1) - 1) :]
        chosen, rejected = (each.sum(dim=1) / mask[:, 1:].sum(dim=1)).chunk(2)  # means over tokens
        noted = self._metrics["train" if self.model.training else "eval"]
        ahead = (chosen - rejected).detach()
        means = torch.stack([self.beta * ahead.mean(), (ahead > 0).to(ahead.dtype).mean()])
        for name, mean in zip(("margins", "accuracies"), means.tolist(), strict=True):
            noted[f"rewards/{name}"].append(mean)
        if self.loss == "simpo":
            return simpo_loss(chosen, rejected, self.beta, self.gamma).mean()
        return orpo_loss(chosen, rejected, self.beta).mean()


def orpo_loss(chosen: torch.Tensor, rejected: torch.Tensor, beta: float) -> torch.Tensor:
    """Loss of every pair after Hong et al. 2024, equations 6 and 7: learn the chosen answer, raise its odds.

    Args:
        chosen: mean log probability of a token of the chosen answer, (pairs,).
        rejected: that of the rejected one.
    """
    odds = [logs - torch.log(-torch.expm1(logs.clamp(max=-1e-6))) for logs in (chosen, rejected)]
    return -chosen - beta * logsigmoid(odds[0] - odds[1])


def simpo_loss(chosen: torch.Tensor, rejected: torch.Tensor, beta: float, gamma: float) -> torch.Tensor:
    """Loss of every pair after Meng et al. 2024, equation 6; arguments as of `orpo_loss`."""
    return -logsigmoid(beta * (chosen - rejected) - gamma)


class LabelTrainer(ComparingTrainer, LeanTrainer, KTOTrainer):  # type: ignore[misc]
    """Trains on labelled answers: columns `prompt_ids`, `completion_ids` and `label`.

    Args:
        continued: as of `PairTrainer`.
    """

    def __init__(self, *args: Any, model: Any, continued: bool, **kwargs: Any) -> None:
        super().__init__(*args, model=model, ref_model=reference_of(model), **kwargs)
        settle_copy(self.model, continued)

    def row_lengths(self, rows: Any) -> list[int]:
        """Tokens of every answer with its prompt."""
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


def preference_trainer(
    config: Config, tokenizer: Any, continued: bool
) -> tuple[type[RunTrainer], dict[str, Any]]:
    """The trainer of a preference stage, and the arguments that it alone takes.

    Args:
        continued: whether the model goes on from an earlier stage.
    """
    preference = config.train.preference
    (loss, *others) = losses_of(config.train.stage, preference)
    if config.train.stage == "kto":
        return LabelTrainer, {"data_collator": batches_of_labels(config, tokenizer), "continued": continued}
    if loss in REFERENCE_FREE and not others:
        return FreeTrainer, {"loss": loss, "gamma": preference.simpo_gamma}
    return PairTrainer, {"continued": continued}


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


def settle_copy(model: Any, continued: bool) -> None:
    """Make the copy that TRL makes of an adapter to refer to what it is for, or take it out.

    A fresh adapter adds nothing to its base, so that the base alone is the same reference. Of one that goes
    on, TRL leaves out weights whose name ends with the adapter's (IA3), and PEFT leaves the copy of virtual
    tokens to be trained.
    """
    if "ref" not in getattr(model, "peft_config", {}):
        return
    if not continued:
        model.delete_adapter("ref")
        return
    named = dict(model.named_parameters())
    for name, copy in named.items():
        if of_reference(name):
            copy.data.copy_(named[f"{name}.".replace(".ref.", ".default.")[:-1]].data)
            copy.requires_grad_(False)


def preference_arguments(config: Config) -> tuple[type[DPOConfig | KTOConfig], dict[str, Any]]:
    """Our settings in TRL's words: the kind of arguments, and those that other stages have not."""
    settings, stage = config.train.preference, config.train.stage
    losses, beta = losses_of(stage, settings), beta_of(stage, settings)
    if stage == "kto":
        return KTOConfig, {
            "beta": beta,
            "loss_type": losses[0],
            "desirable_weight": settings.desirable_weight,
            "undesirable_weight": settings.undesirable_weight,
        }
    if set(losses) <= set(REFERENCE_FREE):
        # With an adapter TRL makes no reference anyway, and need not hash all weights for one it would store.
        return DPOConfig, {"beta": beta, "precompute_ref_log_probs": config.method.name in WHOLE}
    return DPOConfig, {
        "beta": beta,
        "loss_type": losses,
        "loss_weights": settings.loss_weights or None,
        "label_smoothing": settings.label_smoothing,
    }
