"""Response times, measured the way a user waits: one prompt at a time, nothing else running.

Systems that are timed together answer each prompt in turn, and take turns in going first, so that a
machine that slows down or warms up does so for both. The first prompt warms up and is dropped.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from kit.evaluate.generate import generation_config, progress_bar, read_answer
from kit.evaluate.prompts import Prompt

Record = dict[str, Any]


class FirstTokenClock(BaseStreamer):  # type: ignore[misc]  # transformers is not type checked
    """Notes when the first new token arrives; transformers hands over the prompt before it."""

    def __init__(self) -> None:
        self.calls = 0
        self.first_token: float | None = None

    def put(self, value: torch.Tensor) -> None:
        """Called with the prompt, then with each token once it is on the CPU."""
        self.calls += 1
        if self.calls == 2:
            self.first_token = time.perf_counter()

    def end(self) -> None:
        """Called when the answer is complete; nothing to do."""


def measure_latency(
    systems: Sequence[str],
    answering: Callable[[str], AbstractContextManager[Any]],
    tokenizer: Any,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
) -> list[Record]:
    """Time every system on every prompt but the first, greedy, one at a time.

    Args:
        systems: one system, or several that take turns.
        answering: gives the model, in evaluation mode, that answers as a system.
        prompts: one more than are to be measured; the first one warms up.

    Returns:
        Lines of `latency.jsonl`: id, system, seconds to the first token, seconds, new tokens, whether
        the answer ended by itself, and whether its system was timed in turn with another or alone.
    """
    order = "in turn" if len(systems) > 1 else "alone"
    settings = generation_config(tokenizer, max_new_tokens)
    records = []
    title = f"{' and '.join(systems)}, response time"
    with progress_bar(title) as progress:
        task = progress.add_task(title, total=len(prompts))
        for turn, prompt in enumerate(prompts):
            for system in systems if turn % 2 == 0 else reversed(systems):
                with answering(system) as model:
                    record = _time_one(model, tokenizer, prompt, settings)
                if turn > 0:
                    records.append({"id": prompt.id, "system": system, **record, "order": order})
            progress.advance(task)
    return records


def _time_one(model: Any, tokenizer: Any, prompt: Prompt, settings: GenerationConfig) -> Record:
    ids = prompt.ids(tokenizer)
    inputs = torch.tensor([ids], device=next(model.parameters()).device)
    clock = FirstTokenClock()
    start = time.perf_counter()
    with torch.no_grad():
        sequence = model.generate(
            input_ids=inputs,
            attention_mask=torch.ones_like(inputs),
            generation_config=settings,
            streamer=clock,
        )
    tokens = sequence[0, len(ids) :].tolist()  # waits for the device
    end = time.perf_counter()
    _, count, finished = read_answer(tokenizer, tokens, settings.eos_token_id)
    return {
        "seconds_to_first_token": (clock.first_token or end) - start,
        "seconds": end - start,
        "new_tokens": count,
        "finished": finished,
    }
