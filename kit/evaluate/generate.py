"""Answers to prompts, in batches of like length; the same answers however they are batched or resumed.

Greedy takes the likeliest token. Sampled draws from the nucleus with random numbers that belong to the
prompt, not to the batch, so that an interrupted evaluation goes on to the same answers.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from kit.config.schema import Sampling
from kit.data.chat_template import control_pattern
from kit.data.render import stop_ids
from kit.data.turns import thought_end
from kit.evaluate.batching import in_batches
from kit.evaluate.prompts import Prompt

Decoding = Literal["greedy", "sampled"]


@dataclass(frozen=True)
class Answer:
    """What a model said to one prompt.

    `new_tokens` counts the stop token; `finished` is false when the token limit was reached;
    `seconds` is the prompt's share of its batch's time.
    """

    id: str
    output: str
    new_tokens: int
    finished: bool
    seconds: float


class NucleusSampler(LogitsProcessor):  # type: ignore[misc]  # transformers is not type checked
    """Draws a token a row from the top-p nucleus and leaves only that one possible.

    transformers' own sampling takes its random numbers from one generator a process, so that an answer
    would depend on the batch it was made in. Here each row has its own numbers, from seed and id.
    """

    def __init__(
        self, ids: Sequence[str], prompt_length: int, most_tokens: int, seed: int, sampling: Sampling
    ) -> None:
        self.prompt_length = prompt_length
        self.sampling = sampling
        # One uniform number for every row and step: [batch, steps].
        self.uniforms = torch.tensor(np.stack([_uniforms(seed, id_, most_tokens) for id_ in ids]))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores [batch, vocabulary] with all but the drawn token at minus infinity."""
        step = input_ids.shape[1] - self.prompt_length
        probabilities = torch.softmax(scores.double() / self.sampling.temperature, dim=-1)
        ranked, order = probabilities.sort(dim=-1, descending=True, stable=True)
        reached = ranked.cumsum(dim=-1)
        # The smallest set of tokens that holds top_p: those before which less than top_p was reached.
        reached = torch.where(reached - ranked < self.sampling.top_p, reached, torch.inf)
        nucleus = torch.where(reached.isinf(), 0.0, reached).amax(dim=-1, keepdim=True)
        point = self.uniforms[:, step : step + 1].to(scores.device) * nucleus
        drawn = order.gather(-1, torch.searchsorted(reached, point, right=True))
        return torch.full_like(scores, -torch.inf).scatter(-1, drawn, 0.0)


def _uniforms(seed: int, id_: str, count: int) -> "np.ndarray[Any, Any]":
    digest = hashlib.sha256(f"{seed}:{id_}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big")).random(count)


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    decoding: Decoding,
    max_new_tokens: int,
    batch_size: int | Literal["auto"],
    seed: int,
    sampling: Sampling,
    on_answers: Callable[[list[Answer]], None] | None = None,
    title: str = "",
    done: int = 0,
) -> list[Answer]:
    """Answer every prompt.

    Args:
        model: a causal language model in evaluation mode.
        tokenizer: its tokenizer, with a chat template and a padding token that is no stop token.
        batch_size: prompts answered at once; halved where memory runs out (`kit.evaluate.batching`).
        sampling: temperature and nucleus of the `sampled` decoding.
        on_answers: called with each batch's answers as soon as they are there.
        title: shown before a progress bar; without one there is no bar.
        done: how many other prompts were answered before, for the bar.

    Returns:
        The answers in the order of the prompts.

    Raises:
        ModelError: memory does not hold one prompt and its answer.
    """
    encoded = {prompt.id: prompt.ids(tokenizer) for prompt in prompts}
    thought_ends = {prompt.id: thought_end(tokenizer) for prompt in prompts if prompt.thinks}
    settings = generation_config(tokenizer, max_new_tokens)
    answers: dict[str, Answer] = {}
    with progress_bar(title) as progress:
        task = progress.add_task(title, total=done + len(prompts), completed=done)
        tell = partial(progress.console.print, style="yellow")
        answer_rows = partial(
            _answer_batch, model, tokenizer, thought_ends, settings, decoding, seed, sampling
        )
        for made in in_batches(encoded, batch_size, answer_rows, tell):
            answers.update((answer.id, answer) for answer in made)
            if on_answers:
                on_answers(made)
            progress.advance(task, len(made))
    return [answers[prompt.id] for prompt in prompts]


def generation_config(tokenizer: Any, max_new_tokens: int) -> GenerationConfig:
    """Plain decoding: what a model's own generation config adds (penalties, top-k) is switched off.

    Both systems then decode alike, and greedy means the likeliest token.
    """
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_k=50,  # transformers' default; without sampling it does nothing
        top_p=1.0,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        max_new_tokens=max_new_tokens,
        eos_token_id=stop_ids(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
    )


def read_answer(
    tokenizer: Any, tokens: Sequence[int], stops: Sequence[int], thought_end: str = ""
) -> tuple[str, int, bool]:
    """Text, number of tokens with the stop token, and whether one came, from a row of new tokens.

    Args:
        thought_end: what parts reasoning and answer; of a text that has it only the answer is returned.
    """
    end = next((place for place, token in enumerate(tokens) if token in stops), None)
    kept = list(tokens) if end is None else list(tokens[:end])
    text = tokenizer.decode(kept, skip_special_tokens=True).strip()
    _, thought, answer = tokenizer.decode(kept).partition(thought_end) if thought_end else ("", "", "")
    if thought:
        controls = control_pattern(tokenizer)
        text = (controls.sub("", answer) if controls else answer).strip()
    return text, len(kept) + (end is not None), end is not None


def _answer_batch(
    model: Any,
    tokenizer: Any,
    thought_ends: dict[str, str],
    settings: GenerationConfig,
    decoding: Decoding,
    seed: int,
    sampling: Sampling,
    rows: dict[str, list[int]],
) -> list[Answer]:
    ids, mask = padded(list(rows.values()), settings.pad_token_id, next(model.parameters()).device)
    length = ids.shape[1]
    processors = LogitsProcessorList()
    if decoding == "sampled":
        processors.append(NucleusSampler(list(rows), length, settings.max_new_tokens, seed, sampling))
    start = time.perf_counter()
    with torch.no_grad():
        sequences = model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=settings,
            logits_processor=processors,
        )
    new = sequences[:, length:].tolist()
    seconds = (time.perf_counter() - start) / len(rows)
    answers = []
    for id_, tokens in zip(rows, new, strict=True):
        end = thought_ends.get(id_, "")
        output, count, finished = read_answer(tokenizer, tokens, settings.eos_token_id, end)
        answers.append(Answer(id_, output, count, finished, seconds))
    return answers


def padded(
    rows: Sequence[list[int]], pad_token_id: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tokens as one batch: ids and attention mask, both [rows, longest]."""
    length = max(map(len, rows))
    # Padding stands on the left, so that every row's next token is its last.
    ids = [[pad_token_id] * (length - len(row)) + row for row in rows]
    mask = [[0] * (length - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def progress_bar(title: str) -> Progress:
    """A bar with how many are done and the time left; none without a title."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, disable=not title)
