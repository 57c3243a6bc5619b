"""A world small enough to train in seconds: a random Qwen3 of 60 thousand parameters and 48 dialogues."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.config.schema import Config

ARCHITECTURE = {
    "vocab_size": 384,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}


def dialogue(number: int) -> list[dict[str, str]]:
    """Dialogues of different lengths with something to copy."""
    name = f"order {number * 37 % 100}"
    return [
        {"role": "user", "content": f"Where is my {name}?" + " Please hurry." * (number % 4)},
        {"role": "assistant", "content": f"Your {name} is on its way."},
    ]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model with random weights, in a local folder."""
    from kit.models.tiny import new_model, new_tokenizer

    folder = tmp_path_factory.mktemp("base")
    texts = [message["content"] for number in range(48) for message in dialogue(number)]
    tokenizer = new_tokenizer(texts, vocabulary=ARCHITECTURE["vocab_size"])
    new_model(tokenizer, seed=1, architecture=ARCHITECTURE).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_prepared(folder: Path, train: int, valid: int) -> Path:
    """Prepared data as the data room leaves it, of that many dialogues a split."""
    import datasets

    numbers = {"train": range(train), "valid": range(train, train + valid)}
    for split, chosen in numbers.items():
        rows = {"id": [str(n) for n in chosen], "messages": [dialogue(n) for n in chosen]}
        datasets.Dataset.from_dict(rows).save_to_disk(str(folder / split))
    (folder / "data.json").write_text(json.dumps({"schema": 1, "fingerprint": f"{train}-{valid}"}))
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 dialogues to train on, 8 to validate with."""
    return write_prepared(tmp_path_factory.mktemp("prepared"), train=48, valid=8)


@pytest.fixture
def settings(base: Path) -> Callable[..., Config]:
    """Settings of a short run; keyword arguments go to `train`, `method` names the method."""

    def make(method: str = "full", seed: int = 42, **train: Any) -> Config:
        short = {
            "learning_rate": 3e-3,
            "num_train_epochs": 1,
            "global_batch_size": 8,
            "per_device_train_batch_size": 8,
            "logging_steps": 1,
            "eval_steps": 3,
            "save_steps": 3,
        }
        return Config.model_validate(
            {
                "seed": seed,
                "model": {"name": str(base), "max_length": 256},
                "method": {"name": method},
                "train": {**short, **train},
                "tracking": {"report_to": []},
            }
        )

    return make
