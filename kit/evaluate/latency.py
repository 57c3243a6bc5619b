"""Response times, measured the way a user waits: one prompt at a time, nothing else running.

Base and tuned answer each prompt in turn, and take turns in going first, so that a machine that slows
down or warms up does so for both. The first prompt warms up and is dropped.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from kit.data.render import prompt_ids
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
    models: Mapping[str, Any], tokenizer: Any, prompts: Sequence[Prompt], max_new_tokens: int
) -> list[Record]:
    """Time every model on every prompt but the first, greedy, one at a time.

    Args:
        models: system name -> model in evaluation mode.
        prompts: one more than are to be measured; the first one warms up.

    Returns:
        Lines of `latency.jsonl`: id, system, seconds to the first token, seconds, new tokens, and
        whether the answer ended by itself.
    """
    settings = generation_config(tokenizer, max_new_tokens)
    records = []
    with progress_bar("response time") as progress:
        task = progress.add_task("response time", total=len(prompts))
        for turn, prompt in enumerate(prompts):
            systems = list(models) if turn % 2 == 0 else list(models)[::-1]
            for system in systems:
                record = _time_one(models[system], tokenizer, prompt, settings)
                if turn > 0:
                    records.append({"id": prompt.id, "system": system, **record})
            progress.advance(task)
    return records


def _time_one(model: Any, tokenizer: Any, prompt: Prompt, settings: GenerationConfig) -> Record:
    ids = prompt_ids(prompt.messages, tokenizer)
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
