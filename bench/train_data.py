"""What contestants train on: a network with random weights, and dialogues of mixed lengths."""

import hashlib
import json
import random
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from shapes import QWEN, TARGETS, configuration, network

WORDS = 3000
RANK = 16


def make_world(
    work: Path, shape: str, rows: int, limit: int, batch: int, device: str = "cpu"
) -> dict[str, Any]:
    """Write base model, prepared data and tokens into `work`, and what all contestants must share.

    Args:
        limit: most tokens of a packed row, one more than of a dialogue.

    Returns:
        `facts.json`, as `write_facts`.
    """
    make_data(work, shape, rows, limit)
    make_weights(work / "base", shape, device)
    return write_facts(work, shape, rows, limit, batch, device=device)


def make_data(folder: Path, shape: str, rows: int, limit: int) -> None:
    """Prepared data, and as `tokens.json` what becomes of it; the latter is written last.

    Lengths are lognormal, as those of dialogues are: the median a sixth of `limit`, sigma 0.9, cut there.
    """
    from kit.config.schema import Config
    from kit.train.examples import tokenise

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer_of(shape)
    found = [{"messages": one} for one in dialogues(tokenizer, rows, limit)]
    write_prepared(folder / "prepared", found)
    config = Config.model_validate({"model": {"name": str(folder / "base"), "max_length": limit}})
    tokens = tokenise(found, tokenizer, config)
    (folder / "tokens.json").write_text(json.dumps(tokens), encoding="utf-8")


def make_weights(folder: Path, shape: str, device: str = "cpu") -> None:
    """A model folder, there only once it is whole. Weights lie in files named by their sha256, and are linked
    to from there, as in the Hub's cache: what asks for the hash of a large model need not read it again."""
    import torch

    part = folder.with_name(f"{folder.name}.part")
    tokenizer = tokenizer_of(shape)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = network(shape, device, **ends)
    if shape in QWEN:  # as they are published
        model.to(torch.bfloat16)
    model.save_pretrained(part, max_shard_size="2GB")
    tokenizer.save_pretrained(part)
    files = sorted(part.glob("*.safetensors"))
    with ThreadPoolExecutor() as pool:
        for file, digest in zip(files, pool.map(sha256_of, files), strict=True):
            file.rename(part / digest)
            file.symlink_to(digest)
    part.rename(folder)


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_facts(
    work: Path,
    shape: str,
    rows: int,
    limit: int,
    batch: int,
    per_pass: int = 8,
    device: str = "cpu",
    checkpointing: bool = False,
) -> dict[str, Any]:
    """`facts.json`: sizes, the rate, real tokens of an epoch and how many packed rows make a step.

    Args:
        per_pass: rows of `limit` tokens, and short ones, that go through the network together; 8 where others
            train by their defaults. On a CPU a packed row goes alone: there several at once gain nothing.
    """
    from kit.data.pack import pack

    tokens = json.loads((work / "tokens.json").read_text(encoding="utf-8"))
    lengths = [len(row["input_ids"]) for row in tokens]
    rows_a_step = max(1, round(len(pack(lengths, limit)) * batch / rows))
    per_pass = min(per_pass, batch)
    facts = {
        "shape": shape,
        "rows": rows,
        "limit": limit,
        "batch": batch,
        "per_pass": per_pass,
        "default_per_pass": min(8, batch),
        "packed_per_pass": 1 if device == "cpu" else min(per_pass, rows_a_step),
        "rows_a_step": rows_a_step,
        "lengths": lengths,
        "tokens": sum(lengths),
        "rate": 1e-4,
        "rank": RANK,
        "alpha": 2 * RANK,
        "targets": TARGETS,
        "threads": 1,
        "device": device,
        "checkpointing": checkpointing,
    }
    (work / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return facts


def tokenizer_of(shape: str) -> Any:
    """One that knows made-up words, no more than the shape has room for."""
    return words_of(min(configuration(shape).vocab_size, 4096))


@cache
def words_of(vocabulary: int) -> Any:
    """A tokenizer that knows made-up words."""
    from kit.models.tiny import new_tokenizer

    draw = random.Random(0)
    texts = [" ".join(draw.choices(made_up(), k=200)) for _ in range(200)]
    return new_tokenizer(texts, vocabulary=vocabulary)


def made_up() -> list[str]:
    """Words of two to four syllables."""
    draw = random.Random(1)
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    return ["".join(draw.choices(syllables, k=draw.randint(2, 4))) for _ in range(WORDS)]


def dialogues(tokenizer: Any, rows: int, limit: int) -> list[list[dict[str, str]]]:
    """A question, a third of the tokens, and its answer."""
    draw, words = random.Random(2), made_up()
    around = 17  # tokens that the template may put around them, and one to spare
    found = []
    for _ in range(rows):
        length = min(limit, max(24, round(draw.lognormvariate(0, 0.9) * limit / 6))) - around
        ids = tokenizer(" ".join(draw.choices(words, k=length)))["input_ids"][:length]
        cut = max(1, length // 3)
        question, answer = tokenizer.decode(ids[:cut]), tokenizer.decode(ids[cut:])
        found.append([{"role": "user", "content": question}, {"role": "assistant", "content": answer}])
    return found


def write_prepared(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Prepared data as the data room leaves it, with nothing to validate on."""
    import datasets

    datasets.Dataset.from_list(rows).save_to_disk(str(folder / "train"))
    (folder / "valid").mkdir(exist_ok=True)
    (folder / "data.json").write_text(json.dumps({"schema": 1, "fingerprint": "bench"}), encoding="utf-8")
