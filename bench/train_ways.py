"""The contestants of `bench/train.py` that live in this environment: the kit, a bare loop, TRL.

    python bench/train_ways.py WORK METHOD WHO WAY

All take the tokens in `WORK`, eight rows to a pass and 32 to a step, or packed rows that hold as much.
"""

import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shapes import recomputing
from train_turns import EPOCHS, Turns, count_work, into_trainers, take_turns

from kit.config.schema import Config

PACKED = "packed"
"""The way that packs; `grouped` and `padded` say in which order rows are padded."""


def main() -> None:
    """Train until no more is asked for."""
    work, method, who, way = Path(sys.argv[1]), *sys.argv[2:]
    facts = json.loads((work / "facts.json").read_text(encoding="utf-8"))
    turns = take_turns(facts["device"])
    os.chdir(work)
    {"kit": the_kit, "bare": bare_loop, "trl": trl}[who](turns, work, method, way, facts)


def settings(work: Path, method: str, who: str, way: str, facts: dict[str, Any]) -> Config:
    """The kit's settings: its defaults but for the size of things, and no checkpoint on the way.

    `packed+bfloat16` holds frozen weights in bfloat16, as LLaMA-Factory does where it is told `bf16`;
    `packed+compile` compiles the layers.
    """
    way, *more = way.split("+")
    train = {
        "learning_rate": facts["rate"],
        "num_train_epochs": EPOCHS,
        "global_batch_size": facts["batch"],
        "per_device_train_batch_size": facts["per_pass"],
        "packing": way == PACKED,
        "save_steps": 1_000_000,
        "gradient_checkpointing": facts["checkpointing"],
        "torch_compile": who == "kit" and "compile" in more,
    }
    return Config.model_validate(
        {
            "model": {
                "name": str(work / "base"),
                "max_length": facts["limit"],
                "dtype": "bfloat16" if "bfloat16" in more else "auto",
            },
            "method": {
                "name": method,
                "rank": facts["rank"],
                "alpha": facts["alpha"],
                "target_modules": facts["targets"],
            },
            "train": train,
            "hardware": {"device": facts["device"], "num_threads": facts["threads"]},
        }
    )


def the_kit(turns: Turns, work: Path, method: str, way: str, facts: dict[str, Any]) -> None:
    """`casekit train`'s own function, with all that it writes and watches."""
    import kit.train.setup  # noqa: F401
    from kit.train import stages

    turns.imported()
    count_work(turns)
    into_trainers(turns)
    stages.check_space = lambda *_: None  # the process ends before it saves anything
    config = settings(work, method, "kit", way, facts)
    stages.train(config, work / f"kit-{method}-{way}", work / "prepared", task_score=None)


def bare_loop(turns: Turns, work: Path, method: str, way: str, facts: dict[str, Any]) -> None:
    """What nobody can do with less: load, forward, backward, clip, step. The model and the precision are the
    kit's, and grouped and packed the batches too, so what the kit takes besides is its trainer's.

    Kernels are tried out here, before the kit takes them up, or left out to see what they bring:
    `packed+compile` (layer by layer), `packed+liger`, `packed+casts` (of what enters LoRA), or an attention
    as transformers calls it, `packed+sdpa`.
    """
    import torch

    import kit.train.setup  # noqa: F401

    config = settings(work, method, "bare", way, facts)
    turns.imported()
    count_work(turns)
    model, mixed = load_bare(config, way)
    way = way.split("+")[0]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=facts["rate"], weight_decay=0.0, fused=True)
    steps = EPOCHS * math.ceil(facts["rows"] / facts["batch"])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    rows = json.loads((work / "tokens.json").read_text(encoding="utf-8"))
    for epoch in range(EPOCHS):
        turns.begin()
        for passes in batches(rows, way, epoch, config, model):
            labels = sum(int((one["labels"][:, 1:] != -100).sum()) for one in passes)
            for one in passes:
                loss_of(model, one, labels, mixed).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        turns.end()


def load_bare(config: Config, way: str) -> tuple[Any, Any]:
    """The model as the kit trains it, with the kernels that the way names, and the type for autocast."""
    import torch

    from kit.train.methods import load_for_training
    from kit.train.setup import mixed_precision

    torch.manual_seed(config.seed)
    model = load_for_training(config).train()
    model = recomputing(model) if config.train.gradient_checkpointing else model
    mixed = mixed_precision(model.device)
    if model.device.type == "cuda":
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model.get_base_model() if is_adapted(model) else model)
    return with_kernels(model, way.split("+")[1:], mixed), mixed


def loss_of(model: Any, row: dict[str, Any], labels: int, mixed: Any) -> Any:
    """A pass's share of the loss of a step with so many labelled tokens: the model's own, or on a GPU TRL's,
    which scores labelled positions alone, a few at a time; as the kit's trainer does."""
    import torch

    on = model.device
    fused = {"fused_lm_head": True} if on.type == "cuda" else {}
    row = {name: part.to(on) if hasattr(part, "to") else part for name, part in row.items()}
    with torch.autocast(on.type, dtype=mixed, enabled=mixed is not None):
        return model(**row, **fused, use_cache=False, num_items_in_batch=labels).loss


def with_kernels(model: Any, kernels: list[str], mixed: Any) -> Any:
    """The model with other kernels than it was loaded with."""
    from kit.train.kernels import compile_layers, spare_casts

    if mixed is not None and "casts" not in kernels:
        spare_casts(model)
    for name in kernels:
        if name == "liger":
            from liger_kernel.transformers import _apply_liger_kernel_to_instance

            base = model.get_base_model() if is_adapted(model) else model
            own_head = {"fused_linear_cross_entropy": model.device.type != "cuda"}  # elsewhere there is TRL's
            _apply_liger_kernel_to_instance(model=base, **own_head)
        elif name == "compile":
            compile_layers(model)
        elif name not in ("bfloat16", "casts"):  # which are no kernels
            model.set_attn_implementation(name)
    return model


def is_adapted(model: Any) -> bool:
    """Whether PEFT has put an adapter around it."""
    return hasattr(model, "get_base_model")


def batches(
    rows: list[dict[str, Any]], way: str, epoch: int, config: Config, model: Any
) -> Iterator[list[Any]]:
    """The passes of every step of an epoch: padded in random order, or the kit's order, padded or packed."""
    import random

    from kit.train.packed import needs_borders, pack_batch, row_tokens
    from kit.train.trainer import length_grouped_order

    size, per_pass = config.train.global_batch_size, config.train.per_device_train_batch_size
    if way == "padded":
        order = list(range(len(rows)))
        random.Random(epoch).shuffle(order)
    else:
        order = length_grouped_order([len(row["input_ids"]) for row in rows], size, f"{config.seed}-{epoch}")
    for start in range(0, len(order), size):
        chosen = [rows[at] for at in order[start : start + size]]
        if way == PACKED:
            yield pack_batch(padded(chosen), row_tokens(model, config), needs_borders(model))
        else:
            yield [padded(chosen[at : at + per_pass]) for at in range(0, len(chosen), per_pass)]


def padded(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows as one pass, each (rows, tokens of the longest)."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    ids = [torch.tensor(row["input_ids"]) for row in rows]
    labels = [torch.tensor(row["labels"]) for row in rows]
    masks = [torch.ones_like(one) for one in ids]
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
        "attention_mask": pad_sequence(masks, batch_first=True),
    }


def trl(turns: Turns, work: Path, method: str, way: str, facts: dict[str, Any]) -> None:
    """TRL's `SFTTrainer` with its defaults (padded in random order, gradient checkpointing, bfloat16), or the
    quickest of its settings that were found: `bfd` packing, no checkpointing."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(facts["threads"])
    turns.imported()
    count_work(turns)
    into_trainers(turns)
    rows = json.loads((work / "tokens.json").read_text(encoding="utf-8"))
    masked = [
        {"input_ids": row["input_ids"], "completion_mask": [int(one != -100) for one in row["labels"]]}
        for row in rows
    ]
    quick = {"packing": True, "gradient_checkpointing": False} if way == PACKED else {}
    batch = facts["packed_per_pass"] if way == PACKED else facts["default_per_pass"]
    rows_a_step = facts["rows_a_step"] if way == PACKED else facts["batch"]
    arguments = SFTConfig(
        output_dir=str(work / f"trl-{method}-{way}"),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=max(1, round(rows_a_step / batch)),
        num_train_epochs=EPOCHS,
        max_length=facts["limit"],
        learning_rate=facts["rate"],
        save_strategy="no",
        completion_only_loss=True,
        use_cpu=facts["device"] == "cpu",
        report_to="none",
        disable_tqdm=True,
        model_init_kwargs=four_bits(facts) if method == "qlora" else None,
        **quick,
    )
    trainer = SFTTrainer(
        model=str(work / "base"),
        args=arguments,
        train_dataset=Dataset.from_list(masked),
        processing_class=AutoTokenizer.from_pretrained(work / "base"),
        peft_config=None if method == "full" else adapter(facts),
    )
    trainer.train()


def four_bits(facts: dict[str, Any]) -> dict[str, Any]:
    """NF4 weights, double quantisation, as the kit's `qlora`."""
    import torch
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if facts["device"] == "cuda" else torch.float32,
        )
    }


def adapter(facts: dict[str, Any]) -> Any:
    """LoRA of the kit's size and targets."""
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=facts["rank"],
        lora_alpha=facts["alpha"],
        lora_dropout=0.0,
        target_modules=facts["targets"],
    )


if __name__ == "__main__":
    main()
