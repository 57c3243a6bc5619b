"""What is not supported together, with the reason: one table, from which `casekit config` refuses.

Each line was met: it fails, it silently computes something else, or nothing kept computes it. A test trains
a step of every combination that is not in the table (`docs/reference/support.md`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kit.config.explain import Finding
from kit.config.methods import LORA, SOFT_PROMPTS
from kit.config.preference import LOSSES, REFERENCE_FREE, losses_of
from kit.config.schema_train import Hardware, MethodConfig, Train
from kit.config.tree import Tree, section_at
from kit.config.yaml_lines import Key


@dataclass(frozen=True)
class Chosen:
    """What is chosen together, as far as the table asks."""

    method: MethodConfig
    train: Train
    hardware: Hardware
    continues: bool = False
    """Whether the stage goes on from an earlier one of `train.stages`."""

    @property
    def shared_out(self) -> bool:
        """Whether each process holds a part of the model, or of what trains it."""
        return self.hardware.sharding != "none"

    @property
    def has_reference(self) -> bool:
        """Whether the loss measures against the model as it was before the first step."""
        if self.train.stage == "grpo":
            return self.train.grpo.beta > 0
        if self.train.stage not in LOSSES:
            return False
        return not set(losses_of(self.train.stage, self.train.preference)) <= set(REFERENCE_FREE)


@dataclass(frozen=True)
class Refusal:
    """A combination that is refused."""

    what: str
    """The combination in words, as the support page lists it."""
    key: Key
    """The setting that the refusal is shown at."""
    holds: Callable[[Chosen], bool]
    reason: str
    hint: str


REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        what="`prefix` with `train.gradient_checkpointing`",
        key=("train", "gradient_checkpointing"),
        holds=lambda chosen: chosen.method.name == "prefix" and chosen.train.gradient_checkpointing,
        reason="a prefix is a cache that is filled before the first layer, and recomputing a layer fills it "
        "again: training crashes",
        hint="set it to false: only the prefix has gradients and optimiser states",
    ),
    Refusal(
        what="`prefix` or `prompt` with `train.packing`",
        key=("train", "packing"),
        holds=lambda chosen: chosen.method.name in SOFT_PROMPTS and chosen.train.packing,
        reason="the virtual tokens stand once before a packed row, not before each of its dialogues, and "
        "turn off in silence what keeps these apart",
        hint="set it to false: rows of like length share a batch",
    ),
    Refusal(
        what="`qlora` with `init_lora_weights: pissa`",
        key=("method", "init_lora_weights"),
        holds=lambda chosen: chosen.method.name == "qlora" and is_pissa(chosen.method),
        reason="PiSSA takes part of the base's weights out, and weights of 4 bits cannot be taken apart",
        hint="use `loftq` with qlora, or lora",
    ),
    Refusal(
        what="`lora` with `init_lora_weights: loftq`",
        key=("method", "init_lora_weights"),
        holds=lambda chosen: chosen.method.name == "lora" and chosen.method.init_lora_weights == "loftq",
        reason="LoftQ makes up for what 4 bits lose, and the base of lora keeps all its bits",
        hint="use qlora, or `pissa`",
    ),
    Refusal(
        what="`use_dora` with another `init_lora_weights` than `default`",
        key=("method", "use_dora"),
        holds=lambda chosen: (
            chosen.method.name in LORA
            and chosen.method.use_dora
            and chosen.method.init_lora_weights != "default"
        ),
        reason="DoRA takes its sizes from the base before those weights are set, and PEFT's conversion of "
        "PiSSA to LoRA leaves them out",
        hint="choose one of the two",
    ),
    Refusal(
        what="`dpo`, `kto` or `grpo` with `beta`, from the base, with another `init_lora_weights` than "
        "`default`",
        key=("method", "init_lora_weights"),
        holds=lambda chosen: (
            chosen.method.name in LORA
            and chosen.method.init_lora_weights != "default"
            and chosen.has_reference
            and not chosen.continues  # the reference is then a copy of the adapter it goes on from
        ),
        reason="the reference is the model with its adapter switched off, which is not where training begins",
        hint="use `default`, a loss without a reference (`simpo`, orpo), or a stage before it such as "
        "`train.stages: [sft, dpo]`",
    ),
    Refusal(
        what="`prompt` with stage `reward`",
        key=("method", "name"),
        holds=lambda chosen: chosen.method.name == "prompt" and chosen.train.stage == "reward",
        reason="a reward is read at the last token of a row, which is found by its ids; embeddings put "
        "before it hide these, and padding would be scored",
        hint="use lora, or prefix",
    ),
    Refusal(
        what="`init_lora_weights: pissa` with stage `reward`",
        key=("method", "init_lora_weights"),
        holds=lambda chosen: (
            chosen.method.name in LORA and is_pissa(chosen.method) and chosen.train.stage == "reward"
        ),
        reason="PEFT's conversion of PiSSA to LoRA leaves out the head of a reward model",
        hint="use `default`",
    ),
    Refusal(
        what="`qlora` with `hardware.sharding: fsdp` or `zero3`",
        key=("hardware", "sharding"),
        holds=lambda chosen: chosen.hardware.shares_weights and chosen.method.name == "qlora",
        reason="4-bit weights are not shared out by this release",
        hint="set it to zero2 or none, or method to lora",
    ),
    Refusal(
        what="`prefix`, `prompt` or `ia3` with `hardware.sharding: fsdp`",
        key=("hardware", "sharding"),
        holds=lambda chosen: (
            chosen.hardware.sharding == "fsdp" and chosen.method.name in (*SOFT_PROMPTS, "ia3")
        ),
        reason="PEFT does not gather what this method trains from several processes: tried with FSDP2, "
        "training or saving fails",
        hint="set it to zero2 or none (each process then holds the base), or method to lora",
    ),
    Refusal(
        what="`prefix` or `prompt` with `hardware.sharding: zero3`",
        key=("hardware", "sharding"),
        holds=lambda chosen: chosen.hardware.sharding == "zero3" and chosen.method.name in SOFT_PROMPTS,
        reason="tried over two processes on CPUs, training stands still",
        hint="set it to zero2 or none (each process then holds the base), or method to lora",
    ),
    Refusal(
        what="`init_lora_weights: pissa` with `hardware.sharding: fsdp` or `zero3`",
        key=("hardware", "sharding"),
        holds=lambda chosen: (
            chosen.hardware.shares_weights and chosen.method.name in LORA and is_pissa(chosen.method)
        ),
        reason="the conversion of PiSSA needs the whole adapter in one process",
        hint="set it to zero2 or none, or take the setting of `method` out",
    ),
    Refusal(
        what="`loraplus_lr_ratio` with `hardware.sharding`",
        key=("hardware", "sharding"),
        holds=lambda chosen: (
            chosen.shared_out and chosen.method.name in LORA and chosen.method.loraplus_lr_ratio is not None
        ),
        reason="the optimiser of LoRA+ is made before the model is shared out: FSDP2 needs the whole adapter "
        "in one process, and under ZeRO transformers makes its own instead",
        hint="set it to none, or take the setting of `method` out",
    ),
    Refusal(
        what="another stage than `sft` or `pretrain` with `hardware.sharding`, but for `zero2` (`grpo`: with "
        "any)",
        key=("hardware", "sharding"),
        holds=lambda chosen: (
            chosen.train.stage not in ("sft", "pretrain")
            and (chosen.hardware.shares_weights or (chosen.shared_out and chosen.train.stage == "grpo"))
        ),
        reason="the stage needs a second model or a second pass beside the one that is shared out",
        hint="set it to none, or but for grpo to zero2; sft and pretrain are sharded",
    ),
)
"""All of them; the support page lists them in this order."""


def is_pissa(method: MethodConfig) -> bool:
    """Whether the adapter begins with part of the base's weights."""
    return method.init_lora_weights.startswith("pissa")


def refused(chosen: Chosen) -> list[Refusal]:
    """The refusals that hold for what is chosen; empty where it is supported."""
    return [refusal for refusal in REFUSALS if refusal.holds(chosen)]


def check_support(tree: Tree, continues: bool = False) -> Iterator[Finding]:
    """Every combination in the merged tree that is not supported.

    Args:
        tree: all layers, merged. What the schema refuses is not looked at.
        continues: as of `Chosen`.
    """
    method = section_at(tree, "method", MethodConfig)
    train = section_at(tree, "train", Train)
    hardware = section_at(tree, "hardware", Hardware)
    if method is None or train is None or hardware is None:
        return
    for refusal in refused(Chosen(method, train, hardware, continues)):
        place = ".".join(map(str, refusal.key))
        yield Finding(refusal.key, f"`{place}`: {refusal.reason}", refusal.hint, needs_rest=True)
