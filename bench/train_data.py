"""What contestants train on: a network with random weights, and dialogues of mixed lengths."""

import json
import random
from pathlib import Path
from typing import Any

from shapes import QWEN, TARGETS, configuration, network

WORDS = 3000
RANK = 16


def make_world(
    work: Path,
    shape: str,
    rows: int,
    limit: int,
    batch: int,
    device: str = "cpu",
    checkpointing: bool = False,
) -> dict[str, Any]:
    """Write base model, prepared data and tokens into `work`, and what all contestants must share.

    Args:
        limit: most tokens of a packed row, one more than of a dialogue. Lengths are lognormal, as those of
            dialogues are: the median a sixth of it, sigma 0.9, cut there.

    Returns:
        `facts.json`: sizes, the rate, real tokens of an epoch and how many packed rows make a step.
    """
    import torch

    from kit.config.schema import Config
    from kit.data.pack import pack
    from kit.train.examples import tokenise

    configured = configuration(shape)
    tokenizer = words_of(min(configured.vocab_size, 4096))
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = network(shape, device, max_position_embeddings=2 * limit, **ends)
    if shape in QWEN:  # as they are published
        model.to(torch.bfloat16)
    model.save_pretrained(work / "base")
    del model
    tokenizer.save_pretrained(work / "base")
    found = [{"messages": one} for one in dialogues(tokenizer, rows, limit)]
    write_prepared(work / "prepared", found)
    config = Config.model_validate({"model": {"name": str(work / "base"), "max_length": limit}})
    tokens = tokenise(found, tokenizer, config)
    (work / "tokens.json").write_text(json.dumps(tokens), encoding="utf-8")
    lengths = [len(row["input_ids"]) for row in tokens]
    fill = len(pack(lengths, limit))
    facts = {
        "shape": shape,
        "rows": rows,
        "limit": limit,
        "batch": batch,
        "per_pass": min(8, batch),
        "rows_a_step": max(1, round(fill * batch / rows)),
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
    (folder / "valid").mkdir()
    (folder / "data.json").write_text(json.dumps({"schema": 1, "fingerprint": "bench"}), encoding="utf-8")
