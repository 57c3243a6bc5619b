"""LLaMA-Factory as a contestant of `bench/train.py`, in its own environment: nothing of the kit is imported.

    /path/to/its/python bench/train_llamafactory.py WORK METHOD WAY

What it needs beside a torch for CPUs: `pip install torch==2.13.0`, then `pip install --no-deps
llamafactory==0.9.5 torchaudio==2.11.0`, then its other requirements, but for torchvision. Both wheels on PyPI
are built for CUDA and do not load beside that torch; text needs nothing of either.

`WORK` holds the base model, the tokens and what all contestants share (`facts.json`). Ways: `defaults`,
`packed` (`neat_packing`, bfloat16, no gradient checkpointing: the quickest of its settings that were found)
and `packed+liger`. On a GPU `defaults` are in bfloat16 too, as all its examples are. Its `flash_attn` stays
`auto`, which is torch's own attention: `neat_packing` gives that a mask of all pairs.
"""

import json
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from train_turns import EPOCHS, into_trainers, take_turns


def main() -> None:
    """Train until no more is asked for."""
    work, method, way = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    facts = json.loads((work / "facts.json").read_text(encoding="utf-8"))
    turns = take_turns(facts["device"])
    import torch

    try:
        import torchaudio  # noqa: F401
    except OSError:  # a build for CUDA; LLaMA-Factory imports it whatever the data is
        sys.modules["torchaudio"] = module_from_spec(ModuleSpec("torchaudio", None))
    from llamafactory.train.tuner import run_exp

    torch.set_num_threads(facts["threads"])
    turns.imported()
    into_trainers(turns)
    run_exp(settings(work, method, way, facts))


def settings(work: Path, method: str, way: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Its settings: what all share, and what this way sets besides its defaults."""
    folder = work / f"llamafactory-{method}-{way}"
    way, *kernels = way.split("+")
    tokens = save_tokens(work, folder / "tokens", way, facts)
    batch = facts["packed_per_pass"] if way == "packed" else facts["default_per_pass"]
    steps = facts["rows_a_step"] if way == "packed" else facts["batch"]
    shared = {
        "model_name_or_path": str(work / "base"),
        "template": "empty",
        "stage": "sft",
        "do_train": True,
        "dataset": "none",  # asked for, not read: the tokens are there
        "tokenized_path": str(tokens),
        "output_dir": str(folder / "out"),
        "overwrite_output_dir": True,
        "cutoff_len": facts["limit"],
        "num_train_epochs": EPOCHS,
        "learning_rate": facts["rate"],
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": max(1, round(steps / batch)),
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": facts["device"] == "cpu",
        "bf16": facts["device"] != "cpu",
        "enable_liger_kernel": "liger" in kernels,
    }
    return shared | methods(facts)[method] | ways()[way]


def ways() -> dict[str, dict[str, Any]]:
    """What each way sets besides the defaults."""
    quick = {"neat_packing": True, "packing": True, "bf16": True, "disable_gradient_checkpointing": True}
    return {"defaults": {}, "packed": quick}


def methods(facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The methods in its words; adapters have the kit's size and targets."""
    lora = {
        "finetuning_type": "lora",
        "lora_rank": facts["rank"],
        "lora_alpha": facts["alpha"],
        "lora_target": ",".join(facts["targets"]),
    }
    four_bits = {"quantization_bit": 4, "quantization_method": "bnb"}
    return {"full": {"finetuning_type": "full"}, "lora": lora, "qlora": lora | four_bits}


def save_tokens(work: Path, folder: Path, way: str, facts: dict[str, Any]) -> Path:
    """The same tokens as a data set that it has tokenised itself, packed by its own code for `packed`."""
    from datasets import Dataset, DatasetDict

    rows = json.loads((work / "tokens.json").read_text(encoding="utf-8"))
    if way == "packed":
        # It packs to one token more than it is told, and fails where that is no multiple of 8.
        columns = packed(rows, facts["limit"] - 1)
    else:
        columns = {name: [row[name] for row in rows] for name in ("input_ids", "labels")}
        columns["attention_mask"] = [[1] * len(row["input_ids"]) for row in rows]
    DatasetDict({"train": Dataset.from_dict(columns)}).save_to_disk(str(folder))
    return folder


def packed(rows: list[dict[str, Any]], limit: int) -> dict[str, list[Any]]:
    """Rows joined by its own packer, which is handed tokens in place of text."""
    from llamafactory.data.processor.supervised import PackedSupervisedDatasetProcessor

    class OfTokens(PackedSupervisedDatasetProcessor):  # type: ignore[misc]
        def _encode_data_example(self, prompt: Any, response: Any, **_: Any) -> Any:
            return prompt[0], response[0]

    packer = OfTokens(
        template=None,
        tokenizer=SimpleNamespace(pad_token_id=0),
        processor=None,
        data_args=SimpleNamespace(cutoff_len=limit, neat_packing=True),
    )
    empty = [None] * len(rows)
    examples = {f"_{name}": empty for name in ("system", "tools", "images", "videos", "audios")}
    examples |= {
        "_prompt": [[row["input_ids"]] for row in rows],
        "_response": [[row["labels"]] for row in rows],
    }
    columns = packer.preprocess_dataset(examples)
    kept = ("input_ids", "labels", "attention_mask", "position_ids", "packing_params")
    return {name: columns[name] for name in kept}


if __name__ == "__main__":
    main()
