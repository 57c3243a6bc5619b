"""From settings to a trainer: model, precision, arguments, watchers. Heavy; imported by the run alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import torch
from transformers import PrinterCallback, TrainingArguments, set_seed
from trl import RewardConfig, SFTConfig

from kit.config.preference import LOSSES
from kit.config.schema import Config
from kit.files import write_json
from kit.models.loading import device, is_adapter
from kit.train.adapters import loraplus_optimizer, save_weights
from kit.train.chain import restore_adapter
from kit.train.golden import Golden, best_so_far, golden_name
from kit.train.kernels import compile_layers, spare_casts
from kit.train.methods import load_for_training
from kit.train.metrics import forget_after
from kit.train.packed import row_tokens
from kit.train.processes import same_for_all
from kit.train.sharding import ZERO_STAGES, sharding_arguments
from kit.train.trainer import CausalTrainer, RunTrainer, TaskScore
from kit.train.watch import watch
from kit.train.zero import ZeroStep, loaded_whole, prepare_process

if TYPE_CHECKING:
    from kit.rewards import Reward
    from kit.train.examples import Examples


def make_trainer(
    config: Config,
    run: Path,
    examples: "dict[str, Examples]",
    tokenizer: Any,
    task_score: TaskScore | None,
    checkpoint: Path | None,
    base_sha256: str,
    start: Path | None = None,
    rewards: "Sequence[Reward]" = (),
) -> tuple[RunTrainer, Golden]:
    """Load and adapt the model, and put together trainer, data and watchers.

    Args:
        examples: token ids and labels of `train` and `valid`; `valid` may be empty.
        checkpoint: where the run continues; None starts at the beginning.
        base_sha256: the base's weights, by which the golden checkpoint remembers what it fits.
        start: the golden checkpoint of an earlier stage that the weights begin from; None is the base.
        rewards: what `grpo` learns from.
    """
    validates = bool(examples["valid"])
    if config.train.stage == "reward":
        task_score = reward_score(examples["valid"], config)
    set_seed(config.seed)  # before the adapter draws its first weights
    mixed = mixed_precision(device(config.hardware))
    arguments = training_arguments(config, run, mixed, validates)
    with loaded_whole():
        model = load_for_training(config, start)
    kept = same_for_all(lambda: forget_after(run, checkpoint))
    kind, own = trainer_of(config, model, tokenizer, start, rewards)
    trainer = kind(
        model=model,
        args=arguments,
        optimizers=(loraplus_optimizer(model, arguments, config), None),
        train_dataset=datasets.Dataset.from_list(examples["train"]),
        eval_dataset=datasets.Dataset.from_list(examples["valid"]) if validates else None,
        processing_class=tokenizer,
        **own,
        run=run,
        task_score=task_score,
        autocast=mixed if mixed == torch.bfloat16 else None,
    )
    if config.hardware.sharding in ZERO_STAGES:
        prepare_process()
        trainer.add_callback(ZeroStep(trainer))
    trainer.remove_callback(PrinterCallback)
    watch(trainer, run, config, kept)
    widen_adapter(trainer.model)
    speed_up(trainer, config)
    if start is not None and is_adapter(start):
        restore_adapter(trainer.model, start)
    golden = Golden(
        run=run,
        metric=golden_name(config, task_score, validates),
        patience=config.train.early_stopping_patience,
        best=best_so_far(run, kept),
        gather=lambda: whole_weights(trainer) if config.hardware.sharding != "none" else None,
        save=lambda folder, state: save_model(trainer.model, tokenizer, folder, config, state),
        facts={"base": config.model.name, "base_sha256": base_sha256},
    )
    trainer.add_callback(golden)
    return trainer, golden


def reward_score(pairs: "Examples", config: Config) -> TaskScore | None:
    """What picks a reward model's golden checkpoint; None where there are no pairs to validate on."""
    from kit.train.reward import pairwise_score

    return pairwise_score(pairs, config) if pairs else None


def trainer_of(
    config: Config, model: Any, tokenizer: Any, start: Path | None, rewards: "Sequence[Reward]" = ()
) -> tuple[type[RunTrainer], dict[str, Any]]:
    """The trainer of the stage, and the arguments that it alone takes."""
    if config.train.stage == "grpo":
        from kit.train.grpo import grpo_trainer

        return grpo_trainer(config, rewards, continued=start is not None)
    if config.train.stage == "reward":
        from kit.train.reward import PairRewardTrainer

        return PairRewardTrainer, {}
    if config.train.stage in LOSSES:
        from kit.train.preference import preference_trainer

        return preference_trainer(config, tokenizer, continued=start is not None)
    return CausalTrainer, {"row_tokens": row_tokens(model, config) if config.train.packing else None}


def mixed_precision(on: torch.device) -> torch.dtype | None:
    """The type to compute matrix products in; None computes in the weights' type.

    bfloat16 where the device computes in it, float16 (with loss scaling) on older GPUs. On CPUs with
    AVX512-BF16 or AMX bfloat16 is measured 15 to 25% faster for tiny, without them it is slower.
    """
    if on.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(on) >= (8, 0) else torch.float16
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else None


def training_arguments(
    config: Config, run: Path, mixed: torch.dtype | None, validates: bool
) -> TrainingArguments:
    """Our settings in TRL's words."""
    settings = config.train
    on = device(config.hardware)
    # Packed, the trainer cuts a global batch into passes; unpacked, TRL accumulates over equal ones.
    processes = config.hardware.world_size
    share = settings.global_batch_size // processes
    batch = share if settings.packing else settings.per_device_train_batch_size
    kind, own = own_arguments(config)
    own["gradient_checkpointing"] = settings.gradient_checkpointing
    arguments: TrainingArguments = kind(
        output_dir=str(run / "checkpoints"),
        seed=config.seed,
        data_seed=config.seed,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.lr_scheduler_type,
        warmup_steps=settings.warmup_ratio,  # below 1 it is a share of all steps
        num_train_epochs=settings.num_train_epochs,
        max_steps=settings.max_steps,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=settings.per_device_eval_batch_size,
        gradient_accumulation_steps=settings.global_batch_size // (batch * processes),
        weight_decay=settings.weight_decay,
        # From scratch gradients change fast: average their squares over fewer steps, as is usual there.
        adam_beta2=0.95 if settings.stage == "pretrain" else 0.999,
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch_fused",
        use_cpu=on.type == "cpu",
        bf16=False,  # RunTrainer wraps the loss alone in autocast
        fp16=mixed == torch.float16,
        logging_steps=settings.logging_steps,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if validates else "no",
        eval_steps=settings.eval_steps,
        prediction_loss_only=True,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=settings.save_total_limit,
        report_to=[],  # trackers are handed the lines of metrics.jsonl
        run_name=run.name,
        disable_tqdm=True,
        dataloader_pin_memory=on.type == "cuda",
        **own | process_arguments(config, on) | sharding_arguments(config),
    )
    return on_one_device(arguments)


def process_arguments(config: Config, on: torch.device) -> dict[str, Any]:
    """What the trainer is told where it is one of several processes."""
    if config.hardware.world_size == 1:
        return {}
    return {
        "ddp_backend": "gloo" if on.type == "cpu" else "nccl",
        "ddp_find_unused_parameters": False,
        "ddp_broadcast_buffers": False,  # which no training moves; a pass would wait for it
    }


def own_arguments(config: Config) -> tuple[type[TrainingArguments], dict[str, Any]]:
    """The kind of arguments that the stage's trainer takes, and those that not every stage has."""
    if config.train.stage == "grpo":
        from kit.train.grpo import grpo_arguments

        return grpo_arguments(config)
    # Rows over the limit were refused with their line; nothing is cut here.
    rows: dict[str, Any] = {"max_length": None, "include_num_input_tokens_seen": "non_padding"}
    if config.train.stage == "reward":
        return RewardConfig, rows
    # TRL would add how evenly a mixture's experts are used, which depends on how a batch is cut.
    rows["router_aux_loss_coef"] = 0.0
    if config.train.stage in LOSSES:
        from kit.train.preference import preference_arguments

        arguments, own = preference_arguments(config)
        return arguments, {**own, **rows}
    return SFTConfig, {"dataset_kwargs": {"skip_prepare_dataset": True}, **rows}


def on_one_device(arguments: TrainingArguments) -> TrainingArguments:
    """Keep to one GPU where the process sees several: each would add a batch to every pass otherwise."""
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def widen_adapter(model: Any) -> None:
    """Hold what is trained in float32. TRL narrows QLoRA's adapters, and small updates would round away."""
    for parameter in model.parameters():
        if parameter.requires_grad and getattr(model, "peft_config", None):
            parameter.data = parameter.data.float()


def speed_up(trainer: RunTrainer, config: Config) -> None:
    """What makes passes quicker with the model as it is now; see `kit.train.kernels`.

    Other stages run the model outside autocast as well, where casts are needed.
    """
    if trainer.autocast is not None and isinstance(trainer, CausalTrainer):
        spare_casts(trainer.model)
    if config.train.torch_compile:
        compile_layers(trainer.model)


def whole_weights(trainer: RunTrainer) -> dict[str, Any]:
    """The weights of a model that is shared out, whole, in the main process; every process takes part."""
    weights: dict[str, Any] = trainer.accelerator.get_state_dict(trainer.model_wrapped) or {}
    tied = getattr(trainer.model, "all_tied_weights_keys", {})  # one tensor until they were shared out
    return {name: tensor for name, tensor in weights.items() if name not in tied}


def save_model(
    model: Any, tokenizer: Any, folder: Path, config: Config, state: dict[str, Any] | None
) -> None:
    """Write adapter or full weights with the tokenizer; an adapter names its base as the settings do.

    Args:
        state: the weights, where `model` holds a part of them only.
    """
    save_weights(model, folder, state)
    tokenizer.save_pretrained(str(folder))
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        facts = json.loads(adapter.read_text(encoding="utf-8"))
        named = {"base_model_name_or_path": config.model.name, "revision": config.model.revision}
        write_json(adapter, {**facts, **named})
        (folder / "README.md").unlink(missing_ok=True)  # peft's card, with nothing filled in
