"""A reward model: a language model with one output in place of its words, taught by pairs which answer is the
better one (Bradley and Terry 1952; Ouyang et al. 2022), by TRL's `RewardTrainer` on rows that are tokens.

Only `kit.train.setup` and evaluation import this module: it loads torch, transformers and TRL.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import logsigmoid
from trl import RewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from kit.config.schema import Config
from kit.train.examples import Examples
from kit.train.preference import ComparingTrainer
from kit.train.processes import of_all, rank, world_size
from kit.train.trainer import TaskScore


class ScoreTrainer(RewardTrainer):  # type: ignore[misc]
    """TRL's trainer with its figures under the names that the other stages have."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, *rest: Any, **named: Any
    ) -> Any:
        """Minus the log of the probability that the chosen answer is the better one: mean of the pairs."""
        outputs = model(**inputs, use_cache=False)
        chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
        gaps = chosen - rejected
        noted = self._metrics["train" if self.model.training else "eval"]
        means = torch.stack([gaps.detach().mean(), (gaps > 0).to(gaps.dtype).mean()])
        for name, mean in zip(("margins", "accuracies"), means.tolist(), strict=True):
            noted[f"rewards/{name}"].append(mean)
        loss = -logsigmoid(gaps).mean()
        return (loss, outputs) if return_outputs else loss


class PairRewardTrainer(ComparingTrainer, ScoreTrainer):
    """Trains on pairs: columns `chosen_ids` and `rejected_ids`, each a prompt with its answer."""

    def row_lengths(self, rows: Any) -> list[int]:
        """Tokens of the longer side of every pair."""
        sides = zip(rows["chosen_ids"], rows["rejected_ids"], strict=True)
        return [max(len(chosen), len(rejected)) for chosen, rejected in sides]

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


def pairwise_score(pairs: Examples, config: Config) -> TaskScore:
    """What picks the golden checkpoint: the share of these pairs whose chosen answer is scored higher. Of
    several processes each scores some of them.
    """

    def score(model: Any, tokenizer: Any) -> float:
        size, own = config.train.per_device_eval_batch_size, pairs[rank() :: world_size()]
        gaps = [gap for part in of_all(reward_gaps(model, tokenizer, own, size)) for gap in part]
        return sum(gap > 0 for gap in gaps) / len(gaps)

    return score


def reward_gaps(model: Any, tokenizer: Any, pairs: Examples, batch_size: int) -> list[float]:
    """For every pair the reward of its chosen answer less that of the rejected one.

    Args:
        pairs: `chosen_ids` and `rejected_ids`; pairs of like length share a batch.
    """
    settings = model.config.get_text_config()
    settings.pad_token_id = tokenizer.pad_token_id  # by which the model finds each sequence's last token
    collate = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)
    order = sorted(range(len(pairs)), key=lambda number: _length(pairs[number]))
    on = next(model.parameters()).device
    narrow = model.dtype if model.dtype in (torch.bfloat16, torch.float16) else None
    gaps = [0.0] * len(pairs)
    model.eval()
    for begin in range(0, len(order), batch_size):
        numbers = order[begin : begin + batch_size]
        batch = {name: value.to(on) for name, value in collate([pairs[number] for number in numbers]).items()}
        with torch.no_grad(), torch.autocast(on.type, dtype=narrow, enabled=narrow is not None):
            chosen, rejected = model(**batch, use_cache=False).logits.squeeze(-1).float().chunk(2)
        for number, gap in zip(numbers, (chosen - rejected).tolist(), strict=True):
            gaps[number] = gap
    return gaps


def _length(pair: dict[str, Sequence[int]]) -> int:
    return max(len(pair["chosen_ids"]), len(pair["rejected_ids"]))
