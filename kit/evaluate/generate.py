"""Answers to prompts, in batches of like length; the same answers however they are batched or resumed.

Greedy takes the likeliest token. Sampled draws from the nucleus with random numbers that belong to the
prompt, not to the batch, so that an interrupted evaluation goes on to the same answers.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from kit.evaluate.batching import BatchSize, in_batches
from kit.evaluate.prompts import Prompt

Decoding = Literal["greedy", "sampled"]

_ROUND = 64
"""Tokens after which a batch is made up anew; of 24, 32, 48, 64 and 80 the fastest on tiny's answers,"""
_LONG = 4
"""or a fourth of the longest prompt."""
_WINDOW = 8
"""So many batches share their rounds."""


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
        self,
        ids: Sequence[str],
        prompt_length: int,
        most_tokens: int,
        seed: int,
        sampling: Sampling,
        begun: int = 0,
    ) -> None:
        """Sampler of one round of a batch, in which every row has drawn `begun` tokens before."""
        self.prompt_length = prompt_length
        self.sampling = sampling
        # One uniform number for every row and step: [batch, steps].
        uniforms = [_uniforms(seed, id_, begun + most_tokens)[begun:] for id_ in ids]
        self.uniforms = torch.tensor(np.stack(uniforms))

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
    rows = {
        prompt.id: _Begun(prompt.ids(tokenizer), thought_end(tokenizer) if prompt.thinks else "")
        for prompt in prompts
    }
    answers: dict[str, Answer] = {}
    size = BatchSize.of(batch_size)
    with progress_bar(title) as progress:
        task = progress.add_task(title, total=done + len(prompts), completed=done)
        tell = partial(progress.console.print, style="yellow")
        for window, begun, most in _rounds(rows, size, max_new_tokens):
            settings = generation_config(tokenizer, most)
            go_on = partial(_go_on, model, settings, decoding, seed, sampling, begun)
            left = {id_: [*rows[id_].prompt, *rows[id_].said] for id_ in window if id_ not in answers}
            for made in in_batches(left, size, go_on, tell):
                told = [_told(tokenizer, rows[part.id], part, max_new_tokens) for part in made]
                complete = [answer for answer in told if answer]
                answers.update((answer.id, answer) for answer in complete)
                if on_answers and complete:
                    on_answers(complete)
                progress.advance(task, len(complete))
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


@dataclass(frozen=True)
class _Part:
    """What a round added to an answer: at least one token, and the stop token last where it came."""

    id: str
    tokens: list[int]
    seconds: float


@dataclass
class _Begun:
    """A prompt, and what was answered to it so far."""

    prompt: list[int]
    thought_end: str
    said: list[int] = field(default_factory=list)
    seconds: float = 0.0


def _told(tokenizer: Any, begun: _Begun, part: _Part, max_new_tokens: int) -> Answer | None:
    """The answer where this part completes it, by a stop token or because it is as long as may be."""
    begun.said += part.tokens
    begun.seconds += part.seconds
    stops = stop_ids(tokenizer)
    if part.tokens[-1] not in stops and len(begun.said) < max_new_tokens:
        return None
    output, count, finished = read_answer(tokenizer, begun.said, stops, begun.thought_end)
    return Answer(part.id, output, count, finished, begun.seconds)


def _rounds(
    rows: Mapping[str, _Begun], size: BatchSize, max_new_tokens: int
) -> Iterator[tuple[list[str], int, int]]:
    """For every round whose prompts take part, how many tokens each unfinished answer has, and how many
    more it gets.

    A batch takes as long as its longest answer. So it is left after some tokens, and what is not finished is
    joined with the unfinished ones of other batches; their beginnings are read again, which costs little as
    long as they are not many times as long as a round (`bench/evaluate.py`). A few batches share their
    rounds, the longest prompts first: an interruption loses what these have begun, and no more.
    """
    ordered = sorted(rows, key=lambda id_: (-len(rows[id_].prompt), id_))
    start = 0
    while start < len(ordered):
        window = ordered[start : start + _WINDOW * size.prompts]
        start += len(window)
        tokens = max(_ROUND, len(rows[window[0]].prompt) // _LONG)
        for begun in range(0, max_new_tokens, tokens):
            yield window, begun, min(tokens, max_new_tokens - begun)


def _go_on(
    model: Any,
    settings: GenerationConfig,
    decoding: Decoding,
    seed: int,
    sampling: Sampling,
    begun: int,
    rows: dict[str, list[int]],
) -> list[_Part]:
    """One round of a batch, of prompts and what was answered so far."""
    ids, mask = padded(list(rows.values()), settings.pad_token_id, next(model.parameters()).device)
    length = ids.shape[1]
    processors = LogitsProcessorList()
    if decoding == "sampled":
        sampler = NucleusSampler(list(rows), length, settings.max_new_tokens, seed, sampling, begun)
        processors.append(sampler)
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
    return [
        _Part(id_, _to_the_stop(tokens, settings.eos_token_id), seconds)
        for id_, tokens in zip(rows, new, strict=True)
    ]


def _to_the_stop(tokens: Sequence[int], stops: Sequence[int]) -> list[int]:
    end = next((place for place, token in enumerate(tokens) if token in stops), len(tokens) - 1)
    return list(tokens[: end + 1])


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
