"""Answers to prompts, in batches; the same answers however they are batched or resumed.

Greedy takes the likeliest token. Sampled draws from the nucleus with random numbers that belong to the
prompt, not to the batch, so that an interrupted evaluation goes on to the same answers.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Literal

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import GenerationConfig, LogitsProcessorList

from kit.config.schema import Sampling
from kit.data.chat_template import control_pattern
from kit.data.render import stop_ids
from kit.data.turns import thought_end
from kit.drawing import Choose, Chooses
from kit.evaluate.batching import BatchSize, in_batches, longest_first
from kit.evaluate.continuous import ContinuousBatch, Row, adds_to_prompts, padded, shared_beginning, why_not
from kit.evaluate.prompts import Prompt
from kit.evaluate.sampling import Decoding, chooser
from kit.evaluate.vllm_engine import VllmSystem

_SHARE = 8
"""Prompts are let in when an eighth of the places is free: reading them one by one costs more."""


@dataclass(frozen=True)
class Answer:
    """What a model said to one prompt.

    `new_tokens` counts the stop token; `finished` is false when the token limit was reached;
    `seconds` is the prompt's share of the time of the batches that it was in.
    """

    id: str
    output: str
    new_tokens: int
    finished: bool
    seconds: float


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
    together: bool = False,
) -> list[Answer]:
    """Answer every prompt.

    Args:
        model: a causal language model in evaluation mode, or a `VllmSystem`.
        tokenizer: its tokenizer, with a chat template and a padding token that is no stop token.
        batch_size: prompts answered at once; halved where memory runs out (`kit.evaluate.batching`).
        sampling: temperature and nucleus of the `sampled` decoding.
        on_answers: called with each batch's answers as soon as they are there.
        title: shown before a progress bar; without one there is no bar.
        done: how many other prompts were answered before, for the bar.
        together: whether other processes hold parts of the model and answer the same prompts; memory that
            runs out is then an error of torch's, and `auto` stays as it begins.

    Returns:
        The answers in the order of the prompts.

    Raises:
        ModelError: memory does not hold one prompt and its answer.
    """
    settings = generation_config(tokenizer, max_new_tokens)
    choose = chooser(decoding, [prompt.id for prompt in prompts], max_new_tokens, seed, sampling)
    rows = [Row(prompt.id, prompt.ids(tokenizer)) for prompt in prompts]
    ends = {prompt.id: thought_end(tokenizer) if prompt.thinks else "" for prompt in prompts}
    answers: dict[str, Answer] = {}
    size = BatchSize.of(batch_size, together)
    with progress_bar(title) as progress:
        task = progress.add_task(title, total=done + len(prompts), completed=done)
        tell = partial(progress.console.print, style="yellow")
        if isinstance(model, VllmSystem):
            drawn = sampling if decoding == "sampled" else None
            parts = model.answer(rows, settings.eos_token_id, max_new_tokens, seed, drawn)
        elif against := why_not(model):
            if title:
                tell(f"batches wait for their longest answer: {against}")
            parts = _in_turn(model, settings, choose, rows, size, tell)
        else:
            parts = _continuously(model, settings, choose, rows, size, tell)
        for complete in parts:
            made = [_answer(tokenizer, row, settings.eos_token_id, ends[row.id]) for row in complete]
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


def _answer(tokenizer: Any, row: Row, stops: Sequence[int], thought_end: str) -> Answer:
    output, count, finished = read_answer(tokenizer, row.said, stops, thought_end)
    return Answer(row.id, output, count, finished, row.seconds)


def _continuously(
    model: Any,
    settings: GenerationConfig,
    choose: Choose,
    rows: Sequence[Row],
    size: BatchSize,
    tell: Callable[[str], object],
) -> Iterator[list[Row]]:
    """Rows as they are complete; the next prompt takes the place of one that is."""
    stops, most, pad = settings.eos_token_id, settings.max_new_tokens, settings.pad_token_id
    waiting = longest_first(rows)
    begin = partial(ContinuousBatch, model, choose, stops, most, pad, shared_beginning(model, rows))
    batch = begin()
    while waiting or batch.unfinished:
        tried = min(size.prompts, len(batch.unfinished) + len(waiting))
        complete: list[Row] = []
        if size.attempt(partial(_go_on, batch, waiting, size.prompts, complete)):
            size.answered(len(complete))
        else:
            waiting = longest_first([*batch.unfinished, *waiting])
            size.fell_short(tried, waiting[0].length, tell)
            batch = begin()
        if complete:
            yield complete


def _go_on(batch: ContinuousBatch, waiting: list[Row], places: int, complete: list[Row]) -> bool:
    """Let waiting rows take free places, and answer until so many are free that it is worth while again.

    Args:
        complete: gets the rows that are.
    """
    if waiting:
        batch.set_aside(places)
        if batch.no_more_aside(places) and len(batch.unfinished) <= places:
            batch.bring_back(places)
        free = places - len(batch.rows)
        if free and not batch.no_more_aside(places):  # else they wait for room, and nobody is let in
            complete += batch.admit(waiting[:free], places)
            del waiting[:free]
    elif batch.aside:
        if len(batch.unfinished) <= places:  # else they wait until so many are complete
            batch.bring_back(0)
    else:
        batch.shrink()
    enough = max(1, len(batch.rows) // _SHARE)
    while batch.rows and len(complete) < enough:
        complete += batch.step()
    return True


def _in_turn(
    model: Any,
    settings: GenerationConfig,
    choose: Choose,
    rows: Sequence[Row],
    size: BatchSize,
    tell: Callable[[str], object],
) -> Iterator[list[Row]]:
    """Rows as transformers' own `generate` completes them, a batch after the other."""
    batches = [rows]
    if adds_to_prompts(model):
        # PEFT counts places from the first token on, padding included, so there must be none.
        batches = [list(alike) for _, alike in groupby(longest_first(rows), lambda row: row.length)]
    for batch in batches:
        yield from in_batches(batch, size, partial(_generated, model, settings, choose), tell)


def _generated(model: Any, settings: GenerationConfig, choose: Choose, rows: list[Row]) -> list[Row]:
    ids, mask = padded([row.prompt for row in rows], settings.pad_token_id, next(model.parameters()).device)
    length = ids.shape[1]
    chooses = LogitsProcessorList([Chooses(choose, [row.id for row in rows], length)])
    start = time.perf_counter()
    with torch.no_grad():
        sequences = model.generate(
            input_ids=ids, attention_mask=mask, generation_config=settings, logits_processor=chooses
        )
    for row, tokens in zip(rows, sequences[:, length:].tolist(), strict=True):
        row.said = tokens
    for row in rows:
        row.seconds = (time.perf_counter() - start) / len(rows)
    return rows


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
