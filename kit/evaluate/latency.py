"""Response times, measured from when a request is sent to when each token of its answer came.

At concurrency 1 a prompt is answered alone, nothing else running. At concurrency c a local model serves c
requests together as one static batch: they start together, padded to the longest prompt, none joins while
others run, and the batch is over with its longest answer. A server with continuous batching usually does
better.

Systems that are timed together take turns batch by batch, and take turns in going first, so that a machine
that slows down or warms up does so for both. The first batch is asked twice: it warms up, and is then
measured like the others.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from kit.data.turns import thought_end
from kit.evaluate.continuous import padded
from kit.evaluate.generate import progress_bar, read_answer
from kit.evaluate.prompts import Prompt

Record = dict[str, Any]


@dataclass(frozen=True)
class Served:
    """One request's answer, as it was delivered.

    `arrivals` are the seconds from sending to each token, from the first one that has text to the stop
    token; there are none where the answer is empty. `finished` is false where the token limit cut it.
    """

    arrivals: list[float]
    finished: bool


Serve = Callable[[str, Sequence[Prompt]], tuple[list[Served], float]]
"""(system, requests sent together) -> their answers, and the seconds until the last of them was done.

`serve_batch` is that of a local model; an endpoint's sends each request on a thread of its own.
"""


def measure_latency(
    systems: Sequence[str], serve: Serve, prompts: Sequence[Prompt], concurrency: Sequence[int]
) -> list[Record]:
    """Time every system on the prompts, greedy, at every concurrency.

    Args:
        systems: one system, or several that take turns.
        serve: answers prompts as a system.
        prompts: those to be measured.
        concurrency: how many requests are sent together. Prompts that fill no whole batch are left out.

    Returns:
        Lines of `latency.jsonl`: id, system, concurrency, number and seconds of the batch, seconds to the
        first token (null for an empty answer), seconds, tokens, seconds between tokens, whether the answer
        ended by itself, and whether its system was timed in turn with another or alone.
    """
    order = "in turn" if len(systems) > 1 else "alone"
    records: list[Record] = []
    title = f"{' and '.join(systems)}, response time"
    plan = [(level, _batches(prompts, level)) for level in concurrency]
    with progress_bar(title) as progress:
        task = progress.add_task(title, total=sum(level * len(batches) for level, batches in plan))
        for level, batches in plan:
            for turn, batch in enumerate([*batches[:1], *batches]):
                for system in systems if turn % 2 == 0 else reversed(systems):
                    answers, seconds = serve(system, batch)
                    facts = {"system": system, "concurrency": level, "batch": turn - 1, "order": order}
                    if turn > 0:  # the first one warms up
                        records += [
                            {"id": prompt.id, **facts, "batch_seconds": seconds, **_record(answer, seconds)}
                            for prompt, answer in zip(batch, answers, strict=True)
                        ]
                progress.advance(task, level if turn else 0)
    return records


def serve_batch(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], settings: GenerationConfig
) -> tuple[list[Served], float]:
    """Answer prompts together on a local model, as one static batch.

    Args:
        settings: greedy decoding with its token limit, from `generation_config`.

    Returns:
        When the tokens of each answer came, and the seconds until the batch was done.
    """
    rows = [prompt.ids(tokenizer) for prompt in prompts]
    ids, mask = padded(rows, settings.pad_token_id, next(model.parameters()).device)
    clock = TokenClock()
    start = time.perf_counter()
    with torch.no_grad():
        sequences = model.generate(
            input_ids=ids, attention_mask=mask, generation_config=settings, streamer=clock
        )
    new = sequences[:, ids.shape[1] :].tolist()  # waits for the device
    seconds = time.perf_counter() - start
    arrivals = [moment - start for moment in clock.moments]
    answers = []
    for prompt, tokens in zip(prompts, new, strict=True):
        end = thought_end(tokenizer) if prompt.thinks else ""
        output, count, finished = read_answer(tokenizer, tokens, settings.eos_token_id, end)
        first = _first_with_text(tokenizer, tokens[:count]) if output else count
        answers.append(Served(arrivals[first:count], finished))
    return answers, seconds


class TokenClock(BaseStreamer):  # type: ignore[misc]  # transformers is not type checked
    """Notes when each step's tokens are on the CPU; transformers hands over the prompt before them."""

    def __init__(self) -> None:
        self.calls = 0
        self.moments: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        """Called with the prompt, then with the tokens of each step, one a row."""
        self.calls += 1
        if self.calls > 1:
            self.moments.append(time.perf_counter())

    def end(self) -> None:
        """Called when all answers are complete; nothing to do."""


def _batches(prompts: Sequence[Prompt], size: int) -> list[Sequence[Prompt]]:
    """Whole batches in the order of the prompts: the rest would be served with fewer beside it."""
    return [prompts[start : start + size] for start in range(0, len(prompts) - size + 1, size)]


def _first_with_text(tokenizer: Any, tokens: Sequence[int]) -> int:
    """The place of the first token that a reader sees something of."""
    shown = (tokenizer.decode([token], skip_special_tokens=True).strip() for token in tokens)
    return next((place for place, text in enumerate(shown) if text), len(tokens))


def _record(answer: Served, batch_seconds: float) -> Record:
    times = answer.arrivals
    return {
        "seconds_to_first_token": times[0] if times else None,
        "seconds": times[-1] if times else batch_seconds,
        "new_tokens": len(times),
        "inter_token_seconds": [round(after - before, 6) for before, after in pairwise(times)],
        "finished": answer.finished,
    }
