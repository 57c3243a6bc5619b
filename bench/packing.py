"""What packing is worth: real tokens per CPU second, padded, grouped by length, padding-free and packed.

    python bench/packing.py [--samples 256] [--batch 32] [--limits 256 512 1024]

Samples of mixed lengths (lognormal, as dialogues are: the median a sixth of the limit, the longest cut at it)
go forward and backward through a network of tiny's shape with random weights. All ways take the same
samples, in one process, in turn and twice; the quicker of each counts. Seconds are of this process's CPU, on
one thread, so that other work on the machine does not count. For each way the rate as a ratio to padded
batches in random order, the share of positions that is padding, and the most positions of a pass, which is
what memory follows; a table in Markdown.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterator

import torch

from kit.data.pack import pack
from kit.models.tiny import ARCHITECTURE
from kit.train.packed import packed_row
from kit.train.trainer import length_grouped_order

REPEATS = 2
PER_PASS = 8
Sample = tuple[torch.Tensor, torch.Tensor]
Pass = dict[str, torch.Tensor]
Way = Callable[[list[Sample], int, int], Iterator[Pass]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--limits", type=int, nargs="+", default=[256, 512, 1024])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| longest | " + " | ".join(WAYS) + " |\n|--:|" + "--:|" * len(WAYS))
    for limit in options.limits:
        samples = mixed(options.samples, limit)
        model = network(limit)
        passes = {name: list(way(samples, options.batch, limit)) for name, way in WAYS.items()}
        real = sum(len(ids) for ids, _ in samples)
        seconds = {name: [] for name in WAYS}
        for _ in range(REPEATS):
            for name in WAYS:
                seconds[name].append(timed(model, passes[name]))
        base = min(seconds["padded"])
        cells = []
        for name in WAYS:
            positions = [one["input_ids"].numel() for one in passes[name]]
            padding = 1 - real / sum(positions)
            cells.append(f"{base / min(seconds[name]):.2f} ({padding:.0%}, {max(positions):,})")
        print(f"| {limit} | " + " | ".join(cells) + " |", flush=True)


def mixed(count: int, limit: int) -> list[Sample]:
    """Samples of random words with mixed lengths, every token labelled."""
    draw = random.Random(1)
    samples = []
    for _ in range(count):
        length = min(limit, max(8, round(draw.lognormvariate(0, 0.9) * limit / 6)))
        ids = torch.tensor(draw.choices(range(100, ARCHITECTURE["vocab_size"]), k=length))
        samples.append((ids, ids))
    return samples


def network(limit: int) -> torch.nn.Module:
    """A network of tiny's shape that takes `limit` tokens."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(1)
    return Qwen3ForCausalLM(Qwen3Config(**{**ARCHITECTURE, "max_position_embeddings": limit})).train()


def padded(samples: list[Sample], batch: int, limit: int) -> Iterator[Pass]:
    """Passes of eight samples in random order."""
    order = list(range(len(samples)))
    random.Random(1).shuffle(order)
    return (pad(chosen) for chosen in in_parts(samples, order, PER_PASS))


def grouped(samples: list[Sample], batch: int, limit: int) -> Iterator[Pass]:
    """Passes of eight samples in the kit's order, where a global batch holds like lengths."""
    return (pad(chosen) for chosen in in_parts(samples, kits_order(samples, batch), PER_PASS))


def one_at_a_time(samples: list[Sample], batch: int, limit: int) -> Iterator[Pass]:
    """A pass for each sample: `per_device_train_batch_size: 1`."""
    return (pad(chosen) for chosen in in_parts(samples, kits_order(samples, batch), 1))


def padding_free(samples: list[Sample], batch: int, limit: int) -> Iterator[Pass]:
    """The same passes of eight samples, each pass one row without padding."""
    return (packed_row(chosen) for chosen in in_parts(samples, kits_order(samples, batch), PER_PASS))


def packed(samples: list[Sample], batch: int, limit: int) -> Iterator[Pass]:
    """Global batches in packed rows of at most `limit` tokens, as `train.packing` does."""
    for chosen in in_parts(samples, kits_order(samples, batch), batch):
        for row in pack([len(ids) for ids, _ in chosen], limit):
            yield packed_row([chosen[index] for index in row])


WAYS: dict[str, Way] = {
    "padded": padded,
    "grouped by length": grouped,
    "one at a time": one_at_a_time,
    "padding-free": padding_free,
    "packed": packed,
}


def kits_order(samples: list[Sample], batch: int) -> list[int]:
    """The order of an epoch."""
    return length_grouped_order([len(ids) for ids, _ in samples], batch, "1")


def in_parts(samples: list[Sample], order: list[int], size: int) -> Iterator[list[Sample]]:
    """Samples in that order, so many at a time."""
    for start in range(0, len(order), size):
        yield [samples[index] for index in order[start : start + size]]


def pad(samples: list[Sample]) -> Pass:
    """A padded pass, as the trainer's collator makes it."""
    ids = torch.nn.utils.rnn.pad_sequence([ids for ids, _ in samples], batch_first=True)
    labels = torch.nn.utils.rnn.pad_sequence([labels for _, labels in samples], True, -100)
    return {"input_ids": ids, "labels": labels, "attention_mask": (labels != -100).long()}


def timed(model: torch.nn.Module, passes: list[Pass]) -> float:
    """CPU seconds of all passes, forward and backward."""
    began = time.process_time()
    for one in passes:
        model(**one, use_cache=False, num_items_in_batch=1000).loss.backward()
    model.zero_grad()
    return time.process_time() - began


if __name__ == "__main__":
    main()
