"""Helpers of the training tests: prepared data, and what a run left behind."""

import hashlib
import json
from pathlib import Path
from typing import Any

from kit.train.metrics import read_metrics

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


def write_base(folder: Path, **architecture: float) -> Path:
    """A base model with random weights and its tokenizer; keyword arguments change `ARCHITECTURE`."""
    from kit.models.tiny import new_model, new_tokenizer

    texts = [message["content"] for number in range(48) for message in dialogue(number)]
    tokenizer = new_tokenizer(texts, vocabulary=ARCHITECTURE["vocab_size"])
    new_model(tokenizer, seed=1, architecture={**ARCHITECTURE, **architecture}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def dialogue(number: int) -> list[dict[str, str]]:
    """Dialogues of different lengths with something to copy."""
    name = f"order {number * 37 % 100}"
    return [
        {"role": "user", "content": f"Where is my {name}?" + " Please hurry." * (number % 4)},
        {"role": "assistant", "content": f"Your {name} is on its way."},
    ]


def write_prepared(folder: Path, train: int, valid: int) -> Path:
    """Prepared data as the data room leaves it, of that many dialogues a split."""
    import datasets

    numbers = {"train": range(train), "valid": range(train, train + valid)}
    for split, chosen in numbers.items():
        rows = {"id": [str(n) for n in chosen], "messages": [dialogue(n) for n in chosen]}
        datasets.Dataset.from_dict(rows).save_to_disk(str(folder / split))
    (folder / "data.json").write_text(json.dumps({"schema": 1, "fingerprint": f"{train}-{valid}"}))
    return folder


def refusal(number: int) -> dict[str, str]:
    """The answer that is preferred less."""
    return {"role": "assistant", "content": f"I do not know about that, number {number % 7}."}


def write_preferences(folder: Path, train: int, valid: int) -> Path:
    """As `write_prepared`, with a rejected answer beside every chosen one."""
    import datasets

    write_prepared(folder, train, valid)
    for split, numbers in {"train": range(train), "valid": range(train, train + valid)}.items():
        rows = {"messages": [dialogue(n) for n in numbers], "rejected": [[refusal(n)] for n in numbers]}
        datasets.Dataset.from_dict(rows).save_to_disk(str(folder / split))
    return folder


def write_labelled(folder: Path, train: int, valid: int) -> Path:
    """As `write_prepared`, every other row with the worse answer and the label false."""
    import datasets

    write_prepared(folder, train, valid)
    for split, numbers in {"train": range(train), "valid": range(train, train + valid)}.items():
        messages = [dialogue(n) if n % 2 else [dialogue(n)[0], refusal(n)] for n in numbers]
        rows = {"messages": messages, "label": [bool(n % 2) for n in numbers]}
        datasets.Dataset.from_dict(rows).save_to_disk(str(folder / split))
    return folder


def losses_of(run: Path) -> list[float]:
    """The training losses a run logged."""
    return [line["loss"] for line in read_metrics(run) if line["kind"] == "train"]


def weights_of(run: Path, folder: str = "golden") -> str:
    """A hash of the weight files of a run's golden checkpoint, or of another folder of it."""
    files = sorted((run / folder).glob("*.safetensors"))
    assert files
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


MOVES = {"per_second", "runtime", "step_time", "memory_gib", "memory_share", "mfu"}
"""How the names of what the clock and the machine's memory gave end."""


def same_end(run: Path, other: Path) -> None:
    """Hold two runs against each other: golden, newest checkpoint and curves are equal bit for bit."""
    mine, theirs = end_of(run), end_of(other)
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert mine[name] == theirs[name], f"{name} differs"


def end_of(run: Path) -> dict[str, Any]:
    """All that a run ends with, by name, without what the machine gave and without paths."""
    newest = max((run / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    found: dict[str, Any] = {"curves": [_timeless(line) for line in read_metrics(run)]}
    for folder in (run / "golden", newest):
        for path in sorted(folder.iterdir()):
            found[f"{folder.name}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    for of_a_path in ("training_args.bin", "files.json"):
        found.pop(f"{newest.name}/{of_a_path}")
    state = json.loads((newest / "trainer_state.json").read_text())
    state["log_history"] = [_timeless(line) for line in state["log_history"]]
    return {**found, f"{newest.name}/trainer_state.json": state}


def _timeless(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if not any(name.endswith(one) for one in MOVES)}
