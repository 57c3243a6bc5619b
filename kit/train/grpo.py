"""Learning from rewards: TRL's `GRPOTrainer` (Shao et al. 2024) on our prompts, random numbers and rewards.

Each round draws several answers to every prompt of a global batch; the better ones of a prompt become
likelier, the worse ones less likely. What is bent of TRL: prompts are the tokens that serving sends; an
answer ends where serving stops; the reference is the model as it was before, not one loaded by name; and
what is drawn depends on seed, step and prompt alone, so that a run can be continued to the same weights, and
shared out among processes, each of which has all answers to its prompts.

Only `kit.train.setup` imports this module: it loads torch, transformers and TRL.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from kit.config.errors import DataError, Problem
from kit.config.grpo import longest_answer
from kit.config.schema import Config
from kit.data.render import stop_ids
from kit.files import sha256_json
from kit.rewards import Reward
from kit.train.kernels import as_loaded
from kit.train.preference import reference_of, settle_copy
from kit.train.processes import world_size
from kit.train.prompts import read_row
from kit.train.rounds import drawing, load_round, save_round
from kit.train.trainer import RunTrainer, length_grouped_order


class GroupTrainer(RunTrainer, GRPOTrainer):  # type: ignore[misc]
    """Trains on answers that it draws: columns `prompt`, tokens, and `row`, JSON text for the rewards.

    Args:
        rewards: what answers are rewarded by.
        eval_prompts: at most so many validation prompts are answered at a validation.
        continued: whether the model goes on from an earlier stage, so that its adapter is no fresh one.
    """

    def __init__(
        self,
        *args_: Any,
        model: Any,
        args: GRPOConfig,
        eval_dataset: Any,
        processing_class: Any,
        rewards: Sequence[Reward],
        eval_prompts: int,
        continued: bool,
        **kwargs: Any,
    ) -> None:
        self.validated: list[torch.Tensor] = []
        self.learned: dict[int, dict[str, Any]] = {}
        """What each batch of the step that runs became, by the batch's identity."""
        # TRL would load its reference by the model's name, or copy a fresh adapter. Ours are at hand: the
        # base with its adapter off, or a copy; so it is told that none is wanted until it is built. An
        # adapter that goes on is copied, as TRL does.
        beta = args.beta
        reference = reference_of(model) if beta else None
        args.beta = beta if continued and reference is None else 0.0
        args.reward_weights = [reward.weight for reward in rewards]
        super().__init__(
            *args_,
            model=model,
            args=args,
            eval_dataset=eval_dataset and some_of(eval_dataset, eval_prompts, args.seed),
            processing_class=processing_class,
            reward_funcs=[reward_function(reward, processing_class) for reward in rewards],
            **kwargs,
        )
        self.beta = args.beta = beta
        settle_copy(self.model, continued)
        if reference is not None:
            add_fused_lm_head(reference, temperature=self.temperature)
            self.ref_model = self.accelerator.prepare_model(reference, evaluation_mode=True)
        self.eos_token_ids = stop_ids(processing_class)
        self.generation_config.eos_token_id = self.eos_token_ids
        self.generation_kwargs["eos_token_id"] = self.eos_token_ids

    def train_sampler(self) -> "PromptSampler":  # type: ignore[override]
        """The order of the prompts, each as often as it is answered and learned from.

        Raises:
            DataError: there are fewer prompts than one round takes.
        """
        lengths = [len(prompt) for prompt in self.train_dataset["prompt"]]
        prompts = self.args.generation_batch_size // self.num_generations
        if len(lengths) < prompts:
            message = f"has {len(lengths)} prompts, and a step takes {prompts}"
            hint = "lower train.global_batch_size (it counts answers), or bring more rows"
            raise DataError(Problem("the training data", message, hint))
        repeats = self.num_iterations * self.args.steps_per_generation
        return PromptSampler(lengths, prompts, self.num_generations, repeats, self.args.seed)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """TRL's: a batch is a process's share of a round, whole groups of answers as the settings allow."""
        loader: DataLoader[Any] = GRPOTrainer.get_train_dataloader(self)
        return loader

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """The validation prompts; of several processes each has them all, for TRL collects rewards from
        batches of one size.
        """
        if world_size() == 1:
            return super().get_eval_dataloader(eval_dataset)
        return DataLoader(self.eval_dataset, self.args.eval_batch_size, collate_fn=self.data_collator)

    def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return prompts, None, {}  # they are the tokens that serving sends already

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        if not self.model.training:
            inputs: dict[str, Any] = super()._prepare_inputs(generation_batch)
            return inputs
        with seeded(f"{self.args.seed}-{self.state.global_step}"):
            inputs = super()._prepare_inputs(generation_batch)
        self.learned[id(generation_batch)] = inputs
        return inputs

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        first = self.args.process_index * len(prompt_ids)
        places = [f"{self.state.global_step}-{first + row}" for row in range(len(prompt_ids))]
        if not self.model.training:
            places = [f"validation-{sha256_json(prompt)}" for prompt in prompt_ids]
        most = self.max_completion_length
        drawn = drawing(self.model, prompt_ids, places, self.args.seed, most, self.temperature)
        with as_loaded(self.model), drawn:
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """The batches of the next step."""
        self.learned = {}
        found: tuple[list[Any], Any] = super().get_batch_samples(*args, **kwargs)
        return found

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        # Also those of before and of the reference, which TRL computes outside of the loss: compared with
        # probabilities of another precision, a model that stands still would seem to move.
        with self.autocast_smart_context_manager():
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    def _calculate_rewards(self, *args: Any) -> torch.Tensor:
        rewards: torch.Tensor = super()._calculate_rewards(*args)
        if not self.model.training:
            weighed = rewards * self.reward_weights.to(rewards.device)
            self.validated.append(weighed.nansum(dim=1))
        return rewards

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Minus the mean reward of an answer to each validation prompt, then the task score.

        It stands as the validation loss: the loss that TRL computes says nothing of how good answers are.
        """
        self.validated = []
        output = super().evaluation_loop(*args, **kwargs)
        output.metrics["eval_loss"] = 0.0 - torch.cat(self.validated).mean().item()
        return output

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        within = self._step % (self.args.steps_per_generation * self.num_iterations)
        left = self._buffered_inputs if within else None
        save_round(output_dir, self._step, self.args.gradient_accumulation_steps, left)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            args = self.args
            self._step, self._buffered_inputs = load_round(
                checkpoint, args.gradient_accumulation_steps, args.process_index, args.world_size, args.device
            )

    def row_lengths(self, rows: Any) -> list[int]:
        """Tokens of every prompt with the longest answer."""
        return [len(prompt) + self.max_completion_length for prompt in rows["prompt"]]

    def count_rows(self, batch: Any) -> int:
        """How many rows a batch holds, which are not tensors yet."""
        return len(batch)

    def legible(self, batch: Any) -> dict[str, list[Any]]:
        """The answers that were learned from when a number broke, with their prompts."""
        inputs = self.learned[id(batch)]
        parts = [inputs[name] for name in ("prompt_ids", "completion_ids")]
        return super().legible({"input_ids": torch.cat(parts, dim=1), **inputs})


class PromptSampler(Sampler[int]):
    """Prompts of like length share a round; a round's prompts come `generations` times each, all `repeats`
    times. What is left over at an epoch's end is left out, other prompts in every epoch.

    As that of rows the order depends on seed and epoch alone; TRL's goes on from a generator that no
    checkpoint holds.
    """

    def __init__(
        self, lengths: Sequence[int], prompts: int, generations: int, repeats: int, seed: int
    ) -> None:
        self.lengths = lengths
        self.prompts = prompts
        self.generations = generations
        self.repeats = repeats
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is given next; the trainer calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        rounds = len(self.lengths) // self.prompts
        return rounds * self.prompts * self.generations * self.repeats

    def __iter__(self) -> Iterator[int]:
        order = length_grouped_order(self.lengths, self.prompts, f"{self.seed}-{self.epoch}")
        for start in range(0, len(order) - self.prompts + 1, self.prompts):
            for _ in range(self.repeats):
                for prompt in order[start : start + self.prompts]:
                    yield from [prompt] * self.generations


def reward_function(reward: Reward, tokenizer: Any) -> Callable[..., list[float | None]]:
    """A reward as TRL asks for it, under the metric's name."""

    def score(completion_ids: list[list[int]], row: list[str], **_: Any) -> list[float | None]:
        return reward.score(tokenizer, completion_ids, [read_row(text) for text in row])

    score.__name__ = reward.name
    return score


def own_gpu() -> list[int]:
    """The GPU of this process, where it uses one; others draw nothing for it."""
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return [torch.cuda.current_device()] if in_use else []


@contextmanager
def seeded(words: str) -> Iterator[None]:
    """Random numbers that depend on `words` alone; those outside go on as if nothing had been drawn."""
    with torch.random.fork_rng(devices=own_gpu()):
        torch.manual_seed(int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> 1)
        yield


def some_of(rows: Any, most: int, seed: int) -> Any:
    """At most so many rows of a dataset, always the same ones."""
    return rows.select(sorted(random.Random(seed).sample(range(len(rows)), min(most, len(rows)))))


def grpo_trainer(
    config: Config, rewards: Sequence[Reward], continued: bool
) -> tuple[type[RunTrainer], dict[str, Any]]:
    """The trainer of the stage, and the arguments that it alone takes."""
    own = {"rewards": rewards, "eval_prompts": config.train.golden_prompts, "continued": continued}
    return GroupTrainer, own


def grpo_arguments(config: Config) -> tuple[type[GRPOConfig], dict[str, Any]]:
    """Our settings in TRL's words: the kind of arguments, and those that other stages have not."""
    settings = config.train.grpo
    return GRPOConfig, {
        "num_generations": settings.num_generations,
        "num_generations_eval": 1,
        "max_completion_length": longest_answer(config),
        "temperature": settings.temperature,
        "beta": settings.beta,
        "epsilon": settings.epsilon,
        "loss_type": settings.loss_type,
        "scale_rewards": settings.scale_rewards,
        "num_iterations": settings.num_iterations,
        "disable_dropout": True,
        # TRL would add how evenly a mixture's experts are used, which depends on how a batch is cut.
        "router_aux_loss_coef": 0.0,
        # What a model's own generation config adds would draw from other probabilities than are learned.
        "generation_kwargs": {"num_beams": 1, "no_repeat_ngram_size": 0},
        "include_num_input_tokens_seen": "no",  # TRL counts tokens as they are drawn
    }
