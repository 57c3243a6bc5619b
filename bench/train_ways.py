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


def settings(work: Path, method: str, way: str, facts: dict[str, Any]) -> Config:
    """The kit's settings: its defaults but for the size of things, and no checkpoint on the way.

    `packed+bfloat16` holds frozen weights in bfloat16, as LLaMA-Factory does where it is told `bf16`.
    """
    way, *types = way.split("+")
    train = {
        "learning_rate": facts["rate"],
        "num_train_epochs": EPOCHS,
        "global_batch_size": facts["batch"],
        "per_device_train_batch_size": facts["per_pass"],
        "packing": way == PACKED,
        "save_steps": 1_000_000,
        "gradient_checkpointing": facts["checkpointing"],
    }
    return Config.model_validate(
        {
            "model": {
                "name": str(work / "base"),
                "max_length": facts["limit"],
                "dtype": "bfloat16" if "bfloat16" in types else "auto",
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
    from kit.train.stages import train

    turns.imported()
    count_work(turns)
    into_trainers(turns)
    train(
        settings(work, method, way, facts), work / f"kit-{method}-{way}", work / "prepared", task_score=None
    )


def bare_loop(turns: Turns, work: Path, method: str, way: str, facts: dict[str, Any]) -> None:
    """What nobody can do with less: load, forward, backward, clip, step. The model and the precision are the
    kit's, and grouped and packed the batches too, so what the kit takes besides is its trainer's.

    Kernels are tried out here, before the kit takes them up: `packed+compile`, `packed+liger`, or an
    attention as transformers calls it, `packed+flash_attention_2`.
    """
    import torch

    import kit.train.setup
    from kit.train.methods import load_for_training

    config = settings(work, method, way, facts)
    torch.manual_seed(config.seed)
    turns.imported()
    count_work(turns)
    model = load_for_training(config).train()
    model = recomputing(model) if facts["checkpointing"] else model
    way, *kernels = way.split("+")
    model = with_kernels(model, kernels)
    on = next(model.parameters()).device
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=facts["rate"], weight_decay=0.0, fused=True)
    steps = EPOCHS * math.ceil(facts["rows"] / facts["batch"])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    mixed = kit.train.setup.mixed_precision(on)
    rows = json.loads((work / "tokens.json").read_text(encoding="utf-8"))
    for epoch in range(EPOCHS):
        turns.begin()
        for passes in batches(rows, way, epoch, config):
            labels = sum(int((one["labels"][:, 1:] != -100).sum()) for one in passes)
            for one in passes:
                one = {name: tensor.to(on) for name, tensor in one.items()}
                with torch.autocast(on.type, dtype=mixed, enabled=mixed is not None):
                    loss = model(**one, use_cache=False, num_items_in_batch=labels).loss
                loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        turns.end()


def with_kernels(model: Any, kernels: list[str]) -> Any:
    """The model with other kernels than it was loaded with."""
    import torch

    for name in kernels:
        if name == "liger":
            from liger_kernel.transformers import _apply_liger_kernel_to_instance

            _apply_liger_kernel_to_instance(model=getattr(model, "base_model", model))
        elif name == "compile":
            model = torch.compile(model, dynamic=True)  # packed rows are as long as they come
        elif name != "bfloat16":  # which is no kernel, see `settings`
            model.set_attn_implementation(name)
    return model


def batches(rows: list[dict[str, Any]], way: str, epoch: int, config: Config) -> Iterator[list[Any]]:
    """The passes of every step of an epoch: padded in random order, or the kit's order, padded or packed."""
    import random

    from kit.train.packed import pack_batch
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
            yield pack_batch(padded(chosen), config.model.max_length)
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
    batch = 1 if way == PACKED else facts["per_pass"]
    arguments = SFTConfig(
        output_dir=str(work / f"trl-{method}-{way}"),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=facts["rows_a_step"] if way == PACKED else facts["batch"] // batch,
        num_train_epochs=EPOCHS,
        max_length=facts["limit"],
        learning_rate=facts["rate"],
        save_strategy="no",
        completion_only_loss=True,
        use_cpu=facts["device"] == "cpu",
        report_to="none",
        disable_tqdm=True,
        model_init_kwargs=four_bits() if method == "qlora" else None,
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


def four_bits() -> dict[str, Any]:
    """NF4 weights, double quantisation, as the kit's `qlora`."""
    import torch
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
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
