"""What stands under `method`, `train`, `hardware` and `tracking`: a model's training, setting by setting."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from kit.config.schema_grpo import Grpo
from kit.config.section import Section, name_only

Stage = Literal["pretrain", "sft", "reward", "dpo", "kto", "orpo", "grpo"]
PreferenceLoss = Literal[
    "sigmoid",
    "sigmoid_norm",
    "hinge",
    "ipo",
    "robust",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "simpo",
    "kto",
    "apo_zero_unpaired",
    "orpo",
]
Method = Literal["full", "freeze", "lora", "qlora", "prefix", "prompt", "ia3", "adapter", "oft"]
Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]


class MethodConfig(Section):
    """How parameters are adapted. `method: lora` is short for `method: {name: lora}`; a setting that says
    nothing for the method is refused."""

    name: Method = "lora"
    """`full` trains every weight, `freeze` the last layers; the others leave an adapter beside the base:
    matrices (`lora`; `qlora` beside a base of 4 bits), virtual tokens (`prefix`, `prompt`), scales (`ia3`),
    bottleneck layers (`adapter`) or rotations (`oft`)."""
    rank: int = Field(default=8, gt=0)
    """lora, qlora: rank r (Hu et al. 2021)."""
    alpha: int = Field(default=16, gt=0)
    """lora, qlora: scale, updates are multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """lora, qlora: dropout on the adapter's input."""
    target_modules: str | list[str] = "all-linear"
    """lora, qlora, oft: layers that get an adapter."""
    use_rslora: bool = False
    """lora, qlora: divide alpha by the root of the rank, so that high ranks learn (Kalajdzievski 2023)."""
    use_dora: bool = False
    """lora, qlora: train the size of each output apart from its direction (DoRA, Liu et al. 2024)."""
    init_lora_weights: Literal["default", "pissa", "pissa_niter_16", "loftq"] = "default"
    """lora: `pissa` begins with the base's largest singular vectors (Meng et al. 2024), `pissa_niter_16` with
    approximate ones, found faster. qlora: `loftq` begins with what 4 bits lost (Li et al. 2023)."""
    loraplus_lr_ratio: float | None = Field(default=None, ge=1)
    """lora, qlora: so many times the learning rate for the matrices B (LoRA+, Hayou et al. 2024, who use
    16)."""
    double_quantization: bool = True
    """qlora: quantise the NF4 scales as well (Dettmers et al. 2023)."""
    num_trainable_layers: int = Field(default=2, gt=0)
    """freeze: so many of the last layers are trained, with the norm behind them."""
    num_virtual_tokens: int = Field(default=20, gt=0)
    """prefix, prompt: virtual tokens before every row."""
    bottleneck_size: int = Field(default=64, gt=0)
    """adapter: width of each bottleneck (Houlsby et al. 2019); AdapterHub's reduction factor is the model's
    width by it."""
    bottleneck_placement: Literal["houlsby", "pfeiffer"] = "houlsby"
    """adapter: `houlsby` has one behind the attention and one behind the feed-forward part of every layer,
    `pfeiffer` the second alone (Pfeiffer et al. 2021)."""
    oft_block_size: int = Field(default=32, gt=1)
    """oft: inputs that are rotated together; must divide the width of every adapted layer."""


class Preference(Section):
    """Learning from preferences: how far the model may go from where it began, and by which loss."""

    beta: float | None = Field(default=None, gt=0)
    """How strongly the model is held to the reference: the higher, the closer it stays (`ipo`: tau). For
    `simpo` the scale of the reward, for `orpo` the share of the odds ratio in the loss (lambda). null is
    what is usual: 0.1, and 2 for `simpo`."""
    loss_type: list[PreferenceLoss] = []
    """Losses, summed; empty is the stage's own: `sigmoid` (Rafailov et al. 2023) for dpo, `kto`, `orpo`."""
    loss_weights: list[float] = []
    """dpo: a factor for each of `loss_type`; empty is 1 for all."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """dpo, losses `robust`, `exo_pair`, `aot` and `aot_unpaired`: the share of pairs stated wrongly."""
    simpo_gamma: float = Field(default=0.5, ge=0)
    """dpo, loss `simpo`: by how much the chosen answer is to be ahead (Meng et al. 2024)."""
    desirable_weight: float = Field(default=1.0, gt=0)
    """kto: a factor for the loss of answers labelled true."""
    undesirable_weight: float = Field(default=1.0, gt=0)
    """kto: a factor for the loss of answers labelled false."""


class StageUse(Section):
    """One stage of several, with settings that it has of its own. A bare name is short for `{name: …}`."""

    model_config = ConfigDict(extra="allow")  # checked as settings of `train`, over which they lie

    name: Stage
    """Beside it any setting of `train`, such as `{name: dpo, learning_rate: 5e-6}`."""


class Train(Section):
    """The training run. The defaults are the seed's example profile: 3e-5, batch 32, 5 epochs."""

    stage: Stage = "sft"
    """`sft` learns the assistant's turns; `pretrain` every token; `dpo` and `orpo` pairs of a chosen and
    a rejected answer, measured against the base or without; `kto` answers labelled good or bad; `grpo`
    answers that it draws itself, rewarded by the case's metrics; `reward` makes, from pairs, a model that
    scores answers and gives none."""
    stages: list[
        Annotated[StageUse, BeforeValidator(name_only, json_schema_input_type=Stage | StageUse)]
    ] = []
    """Instead of `stage`: several in turn, such as `[sft, dpo]`, each a run from the last one's golden
    checkpoint."""
    learning_rate: float = Field(default=3e-5, gt=0)
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    """Share of all steps over which the rate rises from zero."""
    num_train_epochs: float = Field(default=5, gt=0)
    max_steps: int = Field(default=-1, ge=-1)
    """Stops after this many optimiser steps, 1 or more; -1 means `num_train_epochs` decides."""
    global_batch_size: int = Field(default=32, gt=0)
    """Sequences per optimiser step, over all devices and accumulation."""
    per_device_train_batch_size: int = Field(default=8, gt=0)
    """Sequences per forward pass; the accumulation steps follow. Halved, and said, where memory does not hold
    them. For packed rows see `packing`."""
    packing: bool = False
    """Join the sequences of a global batch in rows, kept apart; a forward pass is then one row, of at most
    `model.max_length` tokens; on a GPU that needs no mask for it, of `per_device_train_batch_size` times as
    many. The steps see what they see unpacked."""
    per_device_eval_batch_size: int = Field(default=16, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    torch_compile: bool = False
    """Compile the model's layers before the first step: quicker steps on a GPU, half a minute or more before
    the first."""
    logging_steps: int = Field(default=10, gt=0)
    eval_steps: int = Field(default=100, gt=0)
    """Validate every so many steps."""
    save_steps: int = Field(default=100, gt=0)
    """Write a checkpoint every so many steps."""
    save_total_limit: int = Field(default=3, gt=0)
    """Checkpoints kept besides the golden one."""
    early_stopping_patience: int = Field(default=3, gt=0)
    """Stop after this many evaluations without a better task score."""
    golden_metric: str | None = None
    """The metric whose validation score picks the golden checkpoint; null takes the first of `evaluate`."""
    golden_prompts: int = Field(default=64, gt=0)
    """How many validation prompts are answered at each evaluation to get that score."""
    preference: Preference = Preference()
    grpo: Grpo = Grpo()

    @property
    def names(self) -> list[Stage]:
        """The stages in their order; one, where there is no chain."""
        return [use.name for use in self.stages] or [self.stage]

    @field_validator("max_steps")
    @classmethod
    def _some_steps(cls, steps: int) -> int:
        if steps == 0:
            raise ValueError("0 steps train nothing: give 1 or more, or -1 for `num_train_epochs`")
        return steps

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        if not self.packing and self.global_batch_size % self.per_device_train_batch_size:
            raise ValueError(
                f"`global_batch_size` ({self.global_batch_size}) must be a multiple of "
                f"`per_device_train_batch_size` ({self.per_device_train_batch_size})"
            )
        return self


class Hardware(Section):
    """Where the work runs."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes the GPU where there is one."""
    num_threads: int | None = Field(default=None, gt=0)
    """CPU threads for torch; null leaves torch's choice."""
    num_processes: int = Field(default=1, gt=0)
    """Training processes on each machine, one a GPU; `casekit train --processes 2` is short for it."""
    num_machines: int = Field(default=1, gt=0)
    """Machines that train together; the command is given on each, with its own `machine_rank`."""
    machine_rank: int = Field(default=0, ge=0)
    """Which of the machines this is. The one with 0 writes the run."""
    main_address: str | None = None
    """Of several machines: `host:port` of the one with rank 0, a port that the others can reach."""
    sharding: Literal["none", "fsdp", "zero2", "zero3"] = "none"
    """`none` holds the whole model in every process; `fsdp` (FSDP2) shares weights, gradients and optimizer
    state out among the GPUs, as `zero3` does (DeepSpeed's ZeRO, extra `deepspeed`); under `zero2` weights
    stay whole."""
    cpu_offload: bool = False
    """Sharded only: keep in the machine's memory what a GPU does not need just now. Slow."""

    @property
    def world_size(self) -> int:
        """Processes on all machines together."""
        return self.num_processes * self.num_machines

    @property
    def shares_weights(self) -> bool:
        """Whether no process holds all the weights; `zero2` leaves them whole."""
        return self.sharding in ("fsdp", "zero3")


class Tracking(Section):
    """Where curves go besides `metrics.jsonl`, which is always written."""

    report_to: list[Tracker] = ["tensorboard"]
    """The trackers that get them; `[]` for none. Those but TensorBoard are an extra each, such as
    `casekit[wandb]`, and keep to this machine unless their own variables or logins say otherwise."""
